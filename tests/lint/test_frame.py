"""What names mean and which functions have a part: the ground that the rules stand on."""

import ast

import pytest

from diptych.lint.module import Module, walked
from diptych.lint.project import Project
from diptych.lint.roles import Part, roles
from diptych.lint.scope import scope_for


def returned(body: str, before: str = "import httpx\nimport time", arguments: str = "") -> str | None:
    """What the last line of a function, a `return`, is said to give."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    module = Module("shop.py", "shop", f"{before}\n\nasync def f({arguments}):\n{lines}")
    project = Project([module])
    function = module.defined["f"]
    assert isinstance(function, ast.AsyncFunctionDef)
    last = function.body[-1]
    assert isinstance(last, ast.Return)
    return scope_for(function, module, project).dotted(last.value)


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        ("return time.sleep", "time.sleep"),
        ("for time in [1]:\n    pass\nreturn time.sleep", None),
        ("time, other = 1, 2\nreturn time.sleep", None),
        ("try:\n    pass\nexcept ValueError as time:\n    pass\nreturn time.sleep", None),
        ("later = lambda time: 1\nreturn time.sleep", None),
        ("return open", "builtins.open"),
        ("client = httpx.Client()\nreturn client.get", "httpx.Client.get"),
        ("client = httpx.Client()\nclient = None\nreturn client.get", None),
    ],
)
def test_a_name_means_what_is_sure(body: str, meaning: str | None) -> None:
    assert returned(body) == meaning


def test_a_function_of_the_module_is_not_that_of_python() -> None:
    assert returned("return open", "def open(name): ...") == "shop.open"


def test_what_a_star_brings_is_not_known() -> None:
    assert returned("return open", "from legacy import *") == "shop.open"


@pytest.mark.parametrize("load", ["get(1)", "get_or_none(1)", "get_or_new(1)"])
def test_a_repository_gives_its_aggregate(load: str) -> None:
    before = "from diptych import Aggregate, Repository\n\nclass Order(Aggregate): ...\n"
    assert returned(f"return await orders.{load}", before, "orders: Repository[Order]") == "shop.Order"


def test_a_name_for_an_annotated_bus_is_the_bus() -> None:
    before = "from typing import Annotated\nfrom diptych import CommandBus\n\nMine = Annotated[CommandBus, 1]\n"
    assert returned("return bus.dispatch", before, "bus: Mine") == "diptych.CommandBus.dispatch"


def test_names_that_stand_for_each_other_lead_nowhere() -> None:
    before = "from typing import Annotated\n\nA = Annotated['B', 1]\nB = Annotated['A', 1]\n"
    assert returned("return it", before, "it: A") in ("shop.A", "shop.B")


def test_two_names_bound_at_once_are_both_known() -> None:
    before = "from diptych import App\n\napp, other = App('memory:'), 1\n"
    assert returned("return app.commands.dispatch", before) == "diptych.App.commands.dispatch"


def test_a_local_of_the_function_around_hides_the_module() -> None:
    module = Module("a.py", "a", "import time\n\ndef outer(time):\n    def inner():\n        return time.sleep\n")
    inner = module.defined["outer.<locals>.inner"]
    assert isinstance(inner, ast.FunctionDef)
    last = inner.body[-1]
    assert isinstance(last, ast.Return)
    assert scope_for(inner, module, Project([module])).dotted(last.value) is None


def test_a_private_method_that_only_on_methods_call_applies() -> None:
    text = (
        "from diptych import Aggregate, on\n\nclass Order(Aggregate):\n    @on\n    def _a(self, e): self._b()\n"
        "    def _b(self): self._c()\n    def _c(self): ...\n    def d(self): self._e()\n    def _e(self): ...\n"
    )
    module = Module("a.py", "a", text)
    found = {role.name: role.part for role in roles(module, Project([module]))}
    assert [name for name, part in found.items() if part is Part.APPLY] == ["Order._a", "Order._b", "Order._c"]


def test_a_module_that_only_imports_one_with_diptych_uses_it() -> None:
    ours = Module("a.py", "a", "import diptych\nimport b\n")
    through = Module("b.py", "b", "from a import x\n")
    other = Module("c.py", "c", "import httpx\n")
    project = Project([ours, through, other])
    assert [project.uses_library(each) for each in (ours, through, other)] == [True, True, False]


def test_walking_finds_what_the_standard_walk_finds() -> None:
    tree = ast.parse("async def f(a, *, b: int = 1):\n    with x() as y:\n        return [z for z in y if not b]\n")
    plain = [node for node in ast.walk(tree) if not isinstance(node, ast.expr_context)]
    assert [type(node) for node in walked(tree)] == [type(node) for node in plain]


def test_the_source_of_a_node_is_what_was_written() -> None:
    text = 'é = "ü" + f(\n    1,\n    "ß",\n)\ndef g(x): return x\n'
    module = Module("a.py", "a", text)
    for node in ast.walk(module.tree):
        assert module.source(node) == (ast.get_source_segment(text, node) or "")
