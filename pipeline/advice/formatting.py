"""The shares of a forecast as text."""


def share(value: float) -> str:
    """Formats a share of the gap in steps of 5 %, as no forecast is more exact."""
    return f"{5 * round(20 * value)} %"
