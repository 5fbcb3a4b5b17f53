"""The map of the repository is complete."""

from pathlib import Path

import graceline

PAGE = Path(__file__).parents[2] / "docs" / "contributing.md"


def test_every_room_is_on_the_map():
    """Whoever looks for a room of the package finds it in the table."""
    table = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    places = Path(graceline.__file__).parent.glob("[a-z]*")
    rooms = {place.stem for place in places if place.suffix in ("", ".py")} - {"py"}
    assert {room for room in rooms if not any(f"`{room}`" in line for line in table)} == set()
