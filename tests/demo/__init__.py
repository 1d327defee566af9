"""The main job, shown step by step: `python -m tests.demo`."""
