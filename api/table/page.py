"""`docs/routes.md`, made from the table of routes; `python -m raftmem.api.table.page` prints it."""

from collections.abc import Iterable
from typing import Final

from raftmem.api.table.route import Route
from raftmem.api.table.routes import ROUTES

_HEAD: Final = """# Routes

`make routes` makes this page from the table in `api/table/`. `/openapi.json` has every parameter, field and error.
The verb names the permission that a route will need (not enforced yet): `per-operation` where the body decides, `open`
where no permission is needed.

| method | path | verb | summary |
| --- | --- | --- | --- |
"""


def page(routes: Iterable[Route]) -> str:
    rows = [(route, route.spec) for route in routes]
    return _HEAD + "".join(
        f"| {route.method} | `{route.path}` | `{route.verb}` | {spec.summary} |\n" for route, spec in rows if spec
    )


if __name__ == "__main__":
    print(page(ROUTES), end="")
