"""Stage 5: results of all arms -> HTML and Markdown report and metrics for DVC, in data/report."""

if __name__ == "__main__":  # before the imports below, which take seconds
    import sys
    from pathlib import Path

    # Python puts stages/ first on the path; the modules of this checkout must take precedence.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from pipeline.runtime.parent import end_with_dvc

    end_with_dvc()

import typer

from pipeline.config.params import load_params
from pipeline.report.run import build_report
from pipeline.runtime.console import run
from pipeline.runtime.errors import exit_on_user_error

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main() -> None:
    """Compares all arms: writes the report as HTML and Markdown, and the metrics for DVC."""
    with exit_on_user_error():
        build_report(load_params())


if __name__ == "__main__":
    run(app)
