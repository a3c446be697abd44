"""Panels, variables and dashboards as all four of ours use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.barchart import Panel as BarChart
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.builders.trend import Panel as Trend
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as AnyQuery
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
JOB = 'job=~"$job"'
TAG = "isoglot"

Panels = Iterator[Builder[model.Panel]]

Queries = Mapping[str, str]
"""Legend to PromQL; a legend may contain ``{{label}}``."""


class _Placed(Protocol):
    """What all panels have in common."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: model.DataSourceRef) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...


P = TypeVar("P", bound=_Placed)


def dashboard(uid: str, title: str, description: str) -> build.Dashboard:
    """Return an empty dashboard with the variables and links that all have."""
    return (
        build.Dashboard(f"Isoglot / {title}")
        .uid(f"isoglot-{uid}")
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .refresh("1m")
        .time("now-6h", "now")
        .readonly()
        .link(
            build.DashboardLink("Isoglot")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(variable("job", "label_values(isoglot_build_info, job)", "Job"))
        .annotation(
            build.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("red")
            .expr('ALERTS{alertname=~"Isoglot.*", alertstate="firing", severity!="info"}')
        )
    )


def variable(name: str, query: str, label: str, *, several: bool = False) -> build.QueryVariable:
    """Return a variable whose values are asked from Prometheus."""
    asked = (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        everything = model.VariableOption(text="All", value="$__all", selected=True)
        asked = asked.multi(True).include_all(True).current(everything)
    return asked


def filled(board: build.Dashboard, *rows: tuple[str, Panels]) -> build.Dashboard:
    """Return a dashboard with panels under headings."""
    for title, panels in rows:
        board = board.with_row(build.Row(title))
        for panel in panels:
            board = board.with_panel(panel)
    return board


def lines(
    title: str,
    unit: str,
    queries: Queries,
    description: str = "",
    *,
    width: int = 12,
    limits: Sequence[tuple[float, str]] = (),
) -> TimeSeries:
    """Return a panel of lines over time.

    Args:
        title: Its title.
        unit: Grafana's name of the unit.
        queries: What is drawn.
        description: What to read from it; shown beside the title.
        width: Of 24.
        limits: Values at which colours change, in ascending order, as value and colour.
    """
    panel = _placed(TimeSeries(), title, unit, description, width, 8)
    panel = panel.line_width(1).fill_opacity(10).min(0) if unit != "none" else panel.line_width(1)
    panel = panel.legend(
        VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    for ref, (legend, expression) in zip("ABCDEFGH", queries.items(), strict=False):
        panel = panel.with_target(_query(ref, expression).legend_format(legend).range())
    return panel.thresholds(_thresholds(limits)) if limits else panel


def number(
    title: str,
    unit: str,
    expression: str,
    description: str = "",
    *,
    width: int = 4,
    limits: Sequence[tuple[float, str]] = (),
) -> Stat:
    """Return a panel with one number; arguments as those of ``lines``."""
    panel = _placed(Stat(), title, unit, description, width, 4)
    panel = panel.with_target(_query("A", expression).instant()).no_value("no data")
    return panel.thresholds(_thresholds(limits)) if limits else panel


def bars(
    title: str, unit: str, by: str, queries: Queries, description: str = "", *, width: int = 12
) -> BarChart:
    """Return a panel of bars, one group for every value of the label ``by``."""
    panel = _placed(BarChart(), title, unit, description, width, 8).x_field(by).min(0)
    for target in _tables(queries):
        panel = panel.with_target(target)
    for step in _joined(by, list(queries)):
        panel = panel.with_transformation(step)
    return panel


def curve(
    title: str, unit: str, by: str, x: str, queries: Queries, description: str = "",
    *, width: int = 12, repeat: str = "",
) -> Trend:  # fmt: skip
    """Return a panel of curves over ``x``, one point for every value of the label ``by``.

    Args:
        title: Its title.
        unit: Grafana's name of the unit of the curves.
        by: Label whose values make the points.
        x: Legend of the query that gives the horizontal axis, or the label itself.
        queries: What is drawn.
        description: What to read from it.
        width: Of 24.
        repeat: Variable for every value of which the panel is repeated.
    """
    panel = _placed(Trend(), title, unit, description, width, 10).x_field(x).min(0).max(1)
    for target in _tables(queries):
        panel = panel.with_target(target)
    for step in _joined(by, list(queries)):
        panel = panel.with_transformation(step)
    if x == by:
        panel = panel.with_transformation(
            _step(
                "convertFieldType", conversions=[{"targetField": by, "destinationType": "number"}]
            )
        )
    panel = panel.with_transformation(_step("sortBy", sort=[{"field": x}]))
    if not repeat:
        return panel
    # Copies share the width of a row.
    return panel.repeat(repeat).repeat_direction("h").max_per_row(2).span(24)


def _placed(panel: P, title: str, unit: str, description: str, width: int, height: int) -> P:
    placed = panel.title(title).datasource(SOURCE).unit(unit).span(width).height(height)
    return placed.description(description) if description else placed


def _query(ref: str, expression: str) -> Dataquery:
    return Dataquery().expr(expression).ref_id(ref).datasource(SOURCE)


def _tables(queries: Queries) -> list[Builder[AnyQuery]]:
    return [
        _query(ref, expression).instant().format(PromQueryFormat.TABLE)
        for ref, expression in zip("ABCDEFGH", queries.values(), strict=False)
    ]


def _joined(by: str, names: Sequence[str]) -> list[model.DataTransformerConfig]:
    """Join tables by a label, without their times, and with the names of the queries."""
    times = ["Time", *(f"Time {at}" for at in range(1, len(names) + 1))]
    values = ["Value"] if len(names) == 1 else [f"Value #{ref}" for ref in "ABCDEFGH"[: len(names)]]
    return [
        _step("joinByField", byField=by, mode="outer"),
        _step(
            "organize",
            excludeByName=dict.fromkeys(times, True),
            renameByName=dict(zip(values, names, strict=True)),
        ),
    ]


def _step(kind: str, **options: object) -> model.DataTransformerConfig:
    return model.DataTransformerConfig(id_val=kind, options=options)


def _thresholds(limits: Sequence[tuple[float, str]]) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=None, color="green")]
    steps += [model.Threshold(value=value, color=colour) for value, colour in limits]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
