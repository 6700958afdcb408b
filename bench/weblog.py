"""A web server's log, simulated: what a real one has of times, addresses, URLs and identifiers, without anybody in it.

People arrive by a Poisson process with a daily rhythm, each with an address, a browser and a visit of a geometric
number of requests. Addresses are of few networks, some people come again. Sizes of files are fixed, of pages they vary;
the time a request takes is lognormal. Trace identifiers are random (uuid4) and shared by the requests of a visit: no
format can store fewer than their bits. Seeded, so every run makes the same table.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

ROWS, SEED = 150_000, 2013
START_US = 1_760_000_000_000_000  # microseconds since 1970: October 2025
PAGES = ("/", "/search?q={}", "/product/{}", "/product/{}/reviews?page=2", "/cart", "/api/v1/items/{}", "/login")
PAGE_SHARES = (0.12, 0.18, 0.3, 0.08, 0.07, 0.2, 0.05)
FILES = tuple(
    f"/static/{kind}/{name}.{kind}" for kind in ("js", "css", "png") for name in ("main", "vendor", "icons", "cart")
)
WORDS = ("shoes", "red+dress", "lamp", "usb+cable", "desk", "winter+coat", "phone+case", "garden+chair", "bike", "tent")
SYSTEMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 10; K",
)
AGENTS = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for system in SYSTEMS
    for version in range(128, 142)
)


def requests(rows: int = ROWS) -> pa.Table:
    """`rows` requests in order of time: when, whose trace and address, what was asked from where, the answer."""
    rng = np.random.default_rng(SEED)
    lengths = rng.geometric(1 / 8, rows)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), rows)) + 1]
    visit = np.repeat(np.arange(lengths.size), lengths)[:rows]
    time = (_arrivals(rng, lengths.size)[visit] + _pauses(rng, visit)) * 1e6
    order = np.argsort(time, kind="stable")
    people = rng.zipf(1.3, lengths.size) % 20_000
    networks = rng.integers(1, 224, (400, 2))
    host = rng.integers(0, 256, (20_000, 2))
    addresses = [f"{a}.{b}.{c}.{d}" for (a, b), (c, d) in zip(networks[rng.zipf(1.5, 20_000) % 400], host, strict=True)]
    agents = rng.zipf(1.4, 20_000) % len(AGENTS)
    traces = [_uuid(bits) for bits in rng.bytes(16 * lengths.size).hex(" ", -16).split()]
    url, is_file = _urls(rng, rows)
    sizes = {name: int(size) for name, size in zip(FILES, rng.integers(800, 400_000, len(FILES)), strict=True)}
    status = rng.choice([200, 304, 302, 404, 500], rows, p=[0.9, 0.05, 0.025, 0.022, 0.003])
    length = np.array([sizes.get(name, 0) for name in url]) + ~is_file * rng.gamma(4, 5000, rows).astype(np.int64)
    seconds = np.round(rng.lognormal(-3.5 - 2 * is_file, 0.8, rows), 3)
    first = np.r_[True, visit[1:] != visit[:-1]]
    referer = [None if new else f"https://shop.example{last}" for new, last in zip(first, ["", *url[:-1]], strict=True)]
    columns = {
        "time": pa.array((START_US + time.astype(np.int64)).astype("datetime64[us]"), pa.timestamp("us", "UTC")),
        "trace": [traces[v] for v in visit],
        "address": [addresses[people[v]] for v in visit],
        "method": ["POST" if "/cart" in name or "/login" in name else "GET" for name in url],
        "url": url,
        "status": pa.array(status, pa.int32()),
        "bytes": np.where(status == 304, 0, length),
        "seconds": seconds,
        "referer": referer,
        "agent": [AGENTS[agents[people[v]]] for v in visit],
    }
    return pa.table(columns).take(pa.array(order))


def _arrivals(rng: np.random.Generator, count: int) -> np.ndarray:
    """Seconds since the start: two in a second at noon, a fifth of that at night."""
    time = np.cumsum(rng.exponential(0.8, count))
    return time - 86_400 / (2 * np.pi) * 0.66 * np.sin(2 * np.pi * time / 86_400)


def _pauses(rng: np.random.Generator, visit: np.ndarray) -> np.ndarray:
    """Seconds since the visit began, files right after their page."""
    steps = np.where(rng.random(visit.size) < 0.6, rng.exponential(0.05, visit.size), rng.lognormal(2, 1, visit.size))
    total = np.cumsum(steps)
    first = np.searchsorted(visit, visit)
    return total - total[first]


def _urls(rng: np.random.Generator, rows: int) -> tuple[list[str], np.ndarray]:
    is_file = rng.random(rows) < 0.55
    file, page = rng.zipf(1.2, rows) % len(FILES), rng.choice(len(PAGES), rows, p=PAGE_SHARES)
    word, item = rng.integers(0, len(WORDS), rows), rng.zipf(1.2, rows) % 50_000
    urls = [
        FILES[f] if is_one else PAGES[p].format(WORDS[w] if "search" in PAGES[p] else 100_000 + i)
        for is_one, f, p, w, i in zip(is_file, file, page, word, item, strict=True)
    ]
    return urls, is_file


def _uuid(bits: str) -> str:
    """Version 4 of RFC 9562 out of 32 random hexadecimal digits."""
    variant = "89ab"[int(bits[16], 16) % 4]
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{variant}{bits[17:20]}-{bits[20:]}"
