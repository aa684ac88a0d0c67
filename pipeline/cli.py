"""The `clinfonce` command: what people use beside the stages."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=__doc__)


@app.callback()
def main() -> None:
    """Learn image representations from hashtags, attributes and category trees."""
