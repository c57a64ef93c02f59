"""Query parameters: unknown ones are refused, because ignoring them would answer another question."""

from difflib import get_close_matches

from fastapi import Request
from fastapi.routing import APIRoute

from sluice.services.query_api.problems import Problem


def only_known(request: Request) -> None:
    """Check that the resource has every parameter of the query.

    Raises:
        Problem: it does not have one.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.query_params:
        return
    known = sorted(str(one.alias) for one in route.dependant.query_params)
    for name in request.query_params:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'no parameters'}"
            raise Problem(400, f"{name[:64]}: not a parameter of {route.path}; {meant}")
