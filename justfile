# Everything a contributor runs; CI runs exactly these.

# install the package and its tools
setup:
    uv sync
    uv run pre-commit install

# style, types, layers
check:
    uv run ruff format --check
    uv run ruff check
    uv run mypy
    uv run lint-imports

# the default tests: minutes on two cores, no network
test *arguments:
    uv run pytest {{arguments}}

# the tests that take minutes each
test-slow:
    uv run pytest -m slow -n 1

# the reference of all settings, from the settings classes
docs:
    uv run dinotune list settings

# draw a small data set, train, evaluate, predict
demo:
    uv run dinotune quickstart
