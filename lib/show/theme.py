"""How figures look (one meaning, one colour, a white card), and how they are shown, with their alt text."""

import base64
import functools
import html
import io
import re
import struct

import matplotlib
import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

# One meaning, one colour. They stay apart under each common colour blindness (a test draws them so).
LLAMA, RWKV, REFERENCE, YOURS = "#0072B2", "#D55E00", "#2B2B2B", "#009E73"
COLORS = {"LLAMA": LLAMA, "RWKV": RWKV, "REFERENCE": REFERENCE, "YOURS": YOURS}
# For series that are none of these four, in this order.
OTHERS = ["#6A3D9A", "#8C6D1F", "#B0468A", "#5B6770"]
# The second series of a family is a darker shade of its colour.
SECOND = {LLAMA: "#00406B", RWKV: "#7A3300"}
# A generation of RWKV keeps its colour through the course; the newest has the family's own.
GENERATIONS = {4: "#420D00", 5: "#7A3300", 6: "#9E6447", 7: RWKV}
GRID, MUTED = "#E3E3E3", "#6B6B6B"
# The line style repeats what the colour says.
DASHES = {LLAMA: "-", RWKV: (0, (7, 1.6)), REFERENCE: (0, (2.5, 1.8)), YOURS: (0, (1, 1))}
DASHES |= {dark: (0, (5, 1.5, 1, 1.5)) for dark in ("#00406B", "#7A3300")}
DASHES |= {GENERATIONS[4]: (0, (1.5, 1.2)), GENERATIONS[6]: (0, (3.5, 1.2))}
OTHER_DASHES = ["-", (0, (6, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.5, 1.2))]
# Words in a series' name that say what it means; a generation's say more than the family's.
GENERATION_NAMES = re.compile(r"rwkv[- ]?([4-7])(?![\db.])|(eagle)|(finch)|(goose)")
MEANINGS = {
    "rwkv": RWKV, "recurren": RWKV, "linear attention": RWKV, "llama": LLAMA, "attention": LLAMA, "transformer": LLAMA,
    "yours": YOURS, "published": REFERENCE, "reference": REFERENCE, "floor": REFERENCE,
}  # fmt: skip
WIDTH, DPI = 6.5, 200
# Of the white card that a figure lies on: its margin, in inches, is the radius of its corners, too.
MARGIN = 0.1
CARD = "background:#fff;color:#222;border-radius:10px"
SUPERSCRIPT = dict(zip(range(48, 58), "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", strict=True)) | {
    45: "\u207b"
}
STYLE = {
    "figure.facecolor": "white", "savefig.facecolor": "white", "axes.facecolor": "white",
    "font.family": "DejaVu Sans", "font.size": 11, "axes.labelsize": 11, "axes.titlesize": 11.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "xtick.labelsize": 10, "ytick.labelsize": 10,
    "axes.edgecolor": MUTED, "axes.labelcolor": REFERENCE, "text.color": REFERENCE,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": REFERENCE, "ytick.labelcolor": REFERENCE,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True,
    "xtick.major.size": 3, "ytick.major.size": 3, "xtick.minor.size": 0, "ytick.minor.size": 0,
    "lines.linewidth": 2.0, "lines.markersize": 5, "legend.frameon": False, "figure.figsize": (WIDTH, 3.0),
    "axes.formatter.useoffset": False, "axes.prop_cycle": matplotlib.cycler(color=OTHERS), "figure.dpi": 100,
}  # fmt: skip


def apply():
    """Give every figure of this process the course's looks, also those that a learner draws alone."""
    matplotlib.rcParams.update(STYLE)


def styled(draw):
    """Decorate a drawing function: it draws with the course's looks, whatever is set outside."""

    @functools.wraps(draw)
    def wrapper(*values, **options):
        with matplotlib.rc_context(STYLE):
            return draw(*values, **options)

    return wrapper


def figure(height=3.0, width=WIDTH, panels=1, **options):
    """Return a figure and its axes (a list for several panels): 6.5 inches wide, at most 3.5 high.

    Raises ValueError for a height that a half-width page could not show.
    """
    if not 0.5 <= height <= 3.5:
        raise ValueError(f"{height} inches high, but a figure has at most 3.5: split it, or make it flatter")
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(width, height))
        FigureCanvasAgg(fig)
        axes = fig.subplots(1, panels, squeeze=False, **options)[0]
    return fig, (axes[0] if panels == 1 else list(axes))


def color_of(name, place=0):
    """Return the colour that a series' name means, else the next of the others. A name in quotes means nothing."""
    if str(name) in COLORS:
        return COLORS[name]
    lower = "" if str(name)[:1] in ("'", '"') else str(name).lower()
    if found := GENERATION_NAMES.search(lower):
        return GENERATIONS[int(found[1]) if found[1] else 3 + found.lastindex]
    return next((color for word, color in MEANINGS.items() if word in lower), OTHERS[place % len(OTHERS)])


def colors_of(names, chosen=None):
    """Return {name: colour}; `chosen` may name one of COLORS or any colour.

    No two series get the same one: the second of a family gets a darker shade, the next ones the colours of others.
    """
    chosen, found, place = chosen or {}, {}, 0
    for name in names:
        color = COLORS.get(chosen.get(name), chosen.get(name)) or color_of(name, place)
        if color in found.values() and name not in chosen:
            free = [other for other in [SECOND.get(color), *OTHERS] if other and other not in found.values()]
            color = free[0] if free else OTHERS[place % len(OTHERS)]
        place += color in OTHERS
        found[name] = color
    return found


def dashes_of(color):
    """Return the line style that goes with a colour."""
    return DASHES.get(color) or OTHER_DASHES[OTHERS.index(color) if color in OTHERS else 0]


def share_map(hue=LLAMA):
    """Return the colour map of shares: white to the owner's hue."""
    return LinearSegmentedColormap.from_list("share", ["#FFFFFF", hue])


def array(values):
    """Return values as a float numpy array: a torch tensor of any dtype and device, a list, an array."""
    if hasattr(values, "detach"):
        values = values.detach().double().cpu().numpy()
    elif isinstance(values, (list, tuple)) and len(values) and hasattr(values[0], "detach"):
        values = np.stack([array(value) for value in values])
    return np.asarray(values, dtype=float)


def finish(ax, xlabel, ylabel, title, xlog=False, ylog=False):
    """Set labels, logarithmic axes, and a thousands comma on plain ones."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if title:
        ax.set_title(title)
    for axis, log in ((ax.xaxis, xlog), (ax.yaxis, ylog)):
        if log:
            getattr(ax, f"set_{axis.axis_name}scale")("log")
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
            in_decades(axis)
        else:
            axis.set_major_formatter(lambda value, _: tick(value))


def in_decades(axis):
    """Write the ticks of a logarithmic axis as `decade` does, and leave the small ones between them out.

    These have no length in our figures, and cost as much time as those that are seen.
    """
    axis.set_major_formatter(lambda value, _: decade(value))
    axis.set_minor_locator(NullLocator())


def tick(value):
    """Return a tick's text: 12,000, 0.25, 3e-06."""
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    return f"{value:,.10g}".replace("-", "\u2212")


def decade(value):
    """Return a logarithmic tick's text: 0.01, 1,000, 10^6 with real superscripts, since mathtext is slow."""
    power = round(np.log10(value))
    if 1e-3 < value < 2e4 or abs(value / 10.0**power - 1) > 1e-6:
        return tick(value)
    return "10" + str(power).translate(SUPERSCRIPT)


def fit(fig, *axes, right=0.0, pad=0.08):
    """Move the axes so that all of their text is inside the figure, `right` inches left free. One pass: it is fast."""
    renderer = fig.canvas.get_renderer()
    width, height = fig.get_size_inches() * fig.dpi
    boxes = [ax.get_tightbbox(renderer) for ax in axes]
    inner = [ax.get_window_extent(renderer) for ax in axes]
    left = inner[0].x0 - boxes[0].x0
    low = max(i.y0 - b.y0 for i, b in zip(inner, boxes, strict=True))
    high = max(b.y1 - i.y1 for i, b in zip(inner, boxes, strict=True))
    over = max(0.0, boxes[-1].x1 - inner[-1].x1) if not right else right * fig.dpi
    margin = pad * fig.dpi
    between = max(
        (inner[k + 1].x0 - boxes[k + 1].x0 + max(0, boxes[k].x1 - inner[k].x1) for k in range(len(axes) - 1)), default=0
    )
    wide = (width - left - over - 2 * margin - between * (len(axes) - 1)) / len(axes)
    fig.subplots_adjust(
        (left + margin) / width, (low + margin) / height, 1 - (over + margin) / width, 1 - (high + margin) / height,
        wspace=(between + 3 * margin) / max(wide, 1),
    )  # fmt: skip


def png(fig, dpi=DPI, small=True):
    """Return a figure's PNG bytes, always the same. small: on a card, half the bytes, in twice the time."""
    with matplotlib.rc_context(STYLE):
        buffer = io.BytesIO()
        # Packed tightly below, or not at all: a widget has to answer at once.
        fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return card(Image.open(buffer).convert("RGB"), dpi) if small else buffer.getvalue()


def card(picture, dpi=DPI):
    """Return the PNG bytes of a picture on a white card with round corners, which suits a dark page as a light one.

    No colours are dark enough for white and light enough for black and still apart from each other, so a figure brings
    its own ground along.
    """
    margin, white = round(MARGIN * dpi), (255, 255, 255)
    whole = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), white)
    whole.paste(picture, (margin, margin))
    packed, buffer = whole.quantize(240, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE), io.BytesIO()
    # A rare colour can come out wrong in so few; then all are kept.
    lost = np.abs(np.asarray(whole, dtype=np.int16) - np.asarray(packed.convert("RGB"), dtype=np.int16)).max()
    corner = np.hypot(*np.mgrid[margin - 0.5 : 0 : -1, margin - 0.5 : 0 : -1])
    clear = np.zeros((whole.height, whole.width))  # how much is cut off of each pixel: one in the corners, else none
    for _ in range(4):
        clear[:margin, :margin] = np.clip(corner - margin + 0.5, 0, 1)
        clear = np.rot90(clear)
    if lost < 12:
        # The last colours of the palette are white, the more transparent the later.
        cells = np.where(clear > 0, 240 + np.round(15 * clear), np.asarray(packed)).astype(np.uint8)
        palette = (packed.getpalette() + [255] * 768)[: 3 * 240] + [255] * 48
        whole, left = Image.fromarray(cells, "P"), bytes([255] * 240 + [255 - 17 * step for step in range(16)])
        whole.putpalette(palette)
        whole.save(buffer, format="png", optimize=True, transparency=left)
    else:
        whole.putalpha(Image.fromarray(np.round(255 * (1 - clear)).astype(np.uint8)))
        whole.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def bundle(picture, alt, dpi=DPI):
    """Return (data, metadata) of a picture for a notebook's output, alt text in both.

    nbconvert, GitHub and the reading copy take `metadata`; a terminal takes text/plain.
    """
    width, height = struct.unpack(">II", picture[16:24])
    shown = {"alt": alt, "width": round(width * 100 / dpi), "height": round(height * 100 / dpi)}
    return {"image/png": base64.b64encode(picture).decode(), "text/plain": alt}, {"image/png": shown}


def show(fig, alt=None):
    """Show a figure with its alt text, a sentence or two that say what one sees. Outside of notebooks nothing happens.

    JupyterLab 4 drops a picture's alt text, so the text follows as an output of its own that only screen readers see.
    Raises ValueError without an alt text.
    """
    alt = alt or getattr(fig, "alt_text", None)
    if not alt:
        raise ValueError("this figure has no alt text: say in a sentence what one sees, alt='...'")
    if get_ipython() is None:
        return
    data, metadata = bundle(png(fig), alt)
    display(data, metadata=metadata, raw=True)
    display({"text/html": hidden(alt), "text/plain": ""}, raw=True)


def hidden(text):
    """Return HTML that a screen reader says and nobody sees. Where styles are stripped it stands as a caption."""
    style = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
    return f'<p style="{style}">{html.escape(text)}</p>'
