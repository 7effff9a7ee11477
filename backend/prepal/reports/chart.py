"""Draws accuracy over labels as SVG, for light and dark pages, wide and narrow ones."""

import sys
from collections.abc import Sequence
from typing import Literal, cast
from xml.etree.ElementTree import Element

from pygal import XY, PluginImportFixer
from pygal.style import Style

# pygal hooks into every later import, for maps that nobody draws here, in a way that Python 3.11 warns of.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, PluginImportFixer)]

Estimates = Sequence[tuple[int, float, float, float]]
"""Number of labels, accuracy, lower and upper end of its interval; by number of labels."""
Theme = Literal["light", "dark"]
Width = Literal["wide", "narrow"]

_SIZES: dict[Width, tuple[int, int]] = {"wide": (880, 300), "narrow": (360, 270)}
# Text, guides and line; the same as in server/web/page.css.
_COLOURS: dict[Theme, tuple[str, str, str]] = {
    "light": ("#1c2430", "#8a94a3", "#1a5fb4"),
    "dark": ("#e6eaf0", "#7d8796", "#7db4ff"),
}
# The band is the first series: an area without an edge.
_BAND = "inline:.serie-0 .line { fill-opacity: .22; stroke: none } .axis .guide.line { stroke-opacity: .5 }"
_MOST_LABELS_SHOWN = {"wide": 8, "narrow": 4}


def accuracy_svg(estimates: Estimates, theme: Theme, width: Width, *, expected: float | None = None) -> bytes:
    """Accuracy and its band over the number of labels, and a dashed line for what was expected at the start.

    Args:
        estimates: what it was, at one number of labels after another.
        theme: of the page.
        width: of the page.
        expected: accuracy that was expected at the start.
    """
    chart = XY(
        style=_style(theme),
        css=["file://style.css", "file://graph.css", _BAND],
        js=[],
        no_prefix=True,
        width=_SIZES[width][0],
        height=_SIZES[width][1],
        margin=8,
        show_legend=False,
        x_title="labels",
        x_value_formatter=lambda labels: f"{labels:,.0f}",
        value_formatter=lambda share: f"{share:.0%}".replace("%", " %"),
        no_data_text="No estimate yet",
        dots_size=2.5 if len(estimates) < 40 else 1,
        max_scale=6,
    )
    if estimates:
        first, last = estimates[0][0], estimates[-1][0]
        chart.x_labels = _ticks(first, last, _MOST_LABELS_SHOWN[width])
        _draw(chart, estimates, expected, (first, max(last, first + 1)))
    chart.add_xml_filter(_without_scripts)
    return cast(bytes, chart.render())


def _style(theme: Theme) -> Style:
    text, guide, line = _COLOURS[theme]
    return Style(
        background="transparent",
        plot_background="transparent",
        foreground=text,
        foreground_strong=text,
        foreground_subtle=guide,
        guide_stroke_color=guide,
        major_guide_stroke_color=guide,
        font_family="system-ui, sans-serif",
        label_font_size=13,
        major_label_font_size=13,
        title_font_size=13,
        no_data_font_size=15,
        stroke_width="2.5",
        stroke_opacity="1",
        colors=(line, line, guide),
    )


def _draw(chart: XY, estimates: Estimates, expected: float | None, ends: tuple[int, int]) -> None:
    """Put the band, the line and what was expected into a chart that goes from one number of labels to another."""
    lowest = min([low for _, _, low, _ in estimates] + ([] if expected is None else [expected]))
    chart.range, chart.xrange = (int(lowest * 10) / 10, 1.0), ends
    there = [(labels, high) for labels, _, _, high in estimates]
    back = [(labels, low) for labels, _, low, _ in reversed(estimates)]
    # It ends where it begins, so that filling it down to the axis adds nothing.
    chart.add("band", [*reversed(back[-1:]), *there, *back], fill=True, show_dots=False)
    chart.add("accuracy", [(labels, accuracy) for labels, accuracy, _, _ in estimates])
    if expected is not None:
        dashes = {"dasharray": "7, 6", "width": 2}
        chart.add("expected", [(end, expected) for end in ends], show_dots=False, stroke_style=dashes)


def _ticks(first: int, last: int, most: int) -> list[int]:
    """Round numbers of labels, evenly spaced."""
    steps = (factor * 10**power for power in range(12) for factor in (1, 2, 5))
    step = next(step for step in steps if (last - first) / step < most)
    return list(range(-(-first // step) * step, last + 1, step))


def _without_scripts(root: Element) -> Element:
    for parent in list(root.iter()):
        for script in parent.findall("script"):
            parent.remove(script)
    return root
