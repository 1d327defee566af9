"""Decides what to write, and says so field by field. Pure: no clock, no network, no randomness.

The rules and why they hold are in docs/reconciliation.md.
"""

from redisop.fieldset import MISSING, Missing, Op
from redisop.plan.decide import BEING_DELETED, GONE, plan, plan_object
from redisop.plan.settled import Settled, Settlement, forget, resolve, settle
from redisop.plan.steps import Action, Change, Plan, Step, request

__all__ = [
    "BEING_DELETED",
    "GONE",
    "MISSING",
    "Action",
    "Change",
    "Missing",
    "Op",
    "Plan",
    "Settled",
    "Settlement",
    "Step",
    "forget",
    "plan",
    "plan_object",
    "request",
    "resolve",
    "settle",
]
