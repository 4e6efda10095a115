"""Mean ranks over seeds with the critical difference: who is not shown to differ from whom."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl.report.assess import Assessment
from mtl.report.figure import INK, Look, cut, panels, short, short_titles
from mtl.report.ranking import Ranking

ROW_HEIGHT = 0.21  # inches per method
BAR_GAP = 0.045  # between the bars of two cliques, in widths of the panel


def plot_ranks(assessments: tuple[Assessment, ...], look: Look) -> Figure | None:
    """Draws one panel per group, the best mean rank on top; bars join what is not shown to differ.

    Args:
      assessments: the groups.
      look: colours and markers.

    Returns:
      The figure; None when no group has three ranked methods and two seeds.

    Reference:
      Demšar, JMLR 7 (2006), figure 1; here the methods stand below each other, so that many fit.
    """
    ranked = {
        a.summary.group: a.rankings[0]
        for a in assessments
        if a.rankings and len(a.rankings[0].methods) > 2 and a.rankings[0].test.n > 1
    }
    if not ranked:
        return None
    columns = min(2, len(ranked))
    shown, note = cut(list(ranked.items()), 1, "groups")
    tallest = max(len(ranking.methods) for _, ranking in shown)
    longest = max(len(" × ".join(map(short, m))) for _, ranking in shown for m in ranking.methods)
    label_width = 0.35 + 0.07 * longest
    titles = short_titles(ranked)
    title_lines = max(text.count("\n") + 1 for text in titles.values())
    seeds = ", ".join(str(n) for n in sorted({ranking.test.n for _, ranking in shown}))
    figure, axes = panels(
        -(-len(shown) // columns),
        columns,
        title=f"Ranks over {seeds} seeds, test split; bars: within Nemenyi's critical difference{note}",
        legends=[],
        height=max(1.2, ROW_HEIGHT * tallest + 0.3),
        wrap=len(shown),
        left=label_width,
        gap_x=label_width + 0.1,
        gap_y=0.75 + 0.16 * title_lines,
    )
    for axis, (group, ranking) in zip(axes.flat, shown):
        _draw(axis, ranking, look)
        axis.set_title(titles[group], size=9, color=INK)
        axis.set_xlabel(
            f"mean rank, ← better; critical difference {ranking.difference:.2f}", size=9, color=INK
        )
    return figure


def _draw(axis: Axes, ranking: Ranking, look: Look) -> None:
    count = len(ranking.methods)
    ranks = [float(rank) for rank in ranking.test.mean_ranks]
    for row, (method, rank) in enumerate(zip(ranking.methods, ranks)):
        marker, colour = look.models[method.model], look.weightings[method.weighting]
        axis.plot(rank, count - 1 - row, marker=marker, color=colour, ms=7, mec="white", mew=0.7)
    width = max(ranks) - min(ranks) or 1.0
    for number, clique in enumerate(ranking.cliques, start=1):
        at = max(ranks) + (0.03 + BAR_GAP * number) * width
        axis.plot([at, at], [count - 1 - clique[0], count - 1 - clique[-1]], color=INK, lw=2.5)
    axis.set_yticks(range(count), [" × ".join(map(short, m)) for m in reversed(ranking.methods)])
    axis.set_ylim(-0.7, count - 0.3)
