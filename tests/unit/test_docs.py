import re
from pathlib import Path

import pytest

from redisop.conditions import Reason
from redisop.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_an_entry_in_the_troubleshooting_table(reason):
    rows = [row for row in (ROOT / "docs" / "operate.md").read_text().splitlines() if row.startswith("| `")]
    assert [row for row in rows if f"`{reason.value}`" in row.split("|")[1]]


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(field):
    text = (ROOT / "docs" / "operate.md").read_text()
    (row,) = [row for row in text.splitlines() if row.startswith(f"| `{PREFIX}{field.upper()}`")]
    default = Settings.model_fields[field].default
    assert (f"`{default}`" if default else "none") in row.split("|")[3]


def test_the_readme_names_the_versions_that_are_tested():
    versions = re.findall(r"VERSIONS = \[(.*)\]", (ROOT / "noxfile.py").read_text())[0].replace('"', "").split(", ")
    assert all(version in (ROOT / "README.md").read_text() for version in versions)


def test_each_module_is_in_the_table_of_layers():
    text = (ROOT / "docs" / "architecture.md").read_text()
    modules = {
        path.stem for path in (ROOT / "redisop").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    missing = {
        name for name in modules - {"__init__", "__main__"} if f"`{name}`" not in text and f"`{name}/`" not in text
    }
    assert missing == set()
