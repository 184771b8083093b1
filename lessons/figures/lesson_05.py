"""Figures of lesson 05: who shares whose keys."""

from matplotlib.patches import Rectangle

from lib.show import theme
from lib.show.theme import LLAMA, OTHERS


def sharing(**options):
    """Show `draw_sharing`."""
    theme.show(draw_sharing(**options))


@theme.styled
def draw_sharing(n_heads=8, n_kv_heads=(8, 2, 1), names=("MHA", "GQA", "MQA")):
    """Return a figure of query heads above and key/value heads below, joined where one reads the other."""
    fig, axes = theme.figure(2.1, panels=len(names))
    for ax, name, G in zip(axes, names, n_kv_heads, strict=True):
        share = n_heads // G
        for h in range(n_heads):
            g = h // share
            at = (g + 0.5) * share - 0.5
            color = OTHERS[g % len(OTHERS)] if 1 < G < n_heads else LLAMA
            ax.plot([h, at], [0.86, 0.16], color=color, linewidth=1.6, zorder=1)
            box(ax, h, 1, 0.78, color, str(h))
            if h % share == 0:
                box(ax, at, 0, 0.78, color, str(g))
        kept = f"{G} key head{'s' * (G > 1)}"
        ax.set_title(f"{name}: {kept}", loc="center", fontsize=10.5)
        ax.set(xlim=(-0.6, n_heads - 0.4), ylim=(-0.3, 1.3))
        ax.set_axis_off()
    axes[0].text(-0.9, 1, "queries", ha="right", va="center", fontsize=10)
    axes[0].text(-0.9, 0, "keys and\nvalues", ha="right", va="center", fontsize=10)
    fig.subplots_adjust(0.12, 0.02, 0.995, 0.86, wspace=0.08)
    fig.alt_text = f"{n_heads} query heads above, key heads below. " + " ".join(
        f"{name}: each key head is read by {n_heads // G} neighbouring query head{'s' * (G < n_heads)}."
        for name, G in zip(names, n_kv_heads, strict=True)
    )
    return fig


def box(ax, x, y, width, color, label):
    """Draw a head: a small box with its number."""
    ax.add_patch(Rectangle((x - width / 2, y - 0.15), width, 0.3, facecolor=color, edgecolor="white", zorder=2))
    ax.text(x, y, label, ha="center", va="center_baseline", color="white", fontsize=8.5, zorder=3)
