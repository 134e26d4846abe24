"""Writes docs/architecture.svg: ``python docs/draw_architecture.py``."""

from pathlib import Path

WIDTH, HEIGHT = 980, 560
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b2733 }
.title { font-weight: 600 }
.small { font-size: 11px; fill: #516171 }
.account { fill: #f6f8fa; stroke: #8a97a5; stroke-dasharray: 5 4 }
.vpc { fill: #ffffff; stroke: #2f6f4f; stroke-width: 1.5 }
.cluster { fill: #eef4fb; stroke: #3b6ea8 }
.pod { fill: #ffffff; stroke: #3b6ea8 }
.hub { fill: #fff8e8; stroke: #b5862a }
.flow { fill: none; stroke: #516171; stroke-width: 1.4; marker-end: url(#head) }
.control { stroke-dasharray: 4 3 }
"""


def box(x: int, y: int, w: int, h: int, kind: str, *lines: str) -> str:
    texts = "".join(
        f'<text x="{x + 10}" y="{y + 19 + 16 * i}" class="{"title" if i == 0 else "small"}">{line}</text>'
        for i, line in enumerate(lines)
    )
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" class="{kind}"/>{texts}'


def flow(path: str, label: str, x: int, y: int, kind: str = "") -> str:
    return f'<path d="{path}" class="flow {kind}"/><text x="{x}" y="{y}" class="small">{label}</text>'


def party(x: int, y: int, name: str, trainer: str, data: str) -> str:
    return "".join(
        [
            box(x, y, 270, 196, "account", name, "account, role and network of its own"),
            box(x + 12, y + 44, 246, 140, "vpc", "VPC: endpoints, no way out"),
            box(x + 22, y + 72, 226, 66, "cluster", "EKS Auto Mode, private"),
            box(x + 30, y + 98, 100, 32, "pod", "agent"),
            box(x + 140, y + 98, 100, 32, "pod", trainer),
            f'<text x="{x + 22}" y="{y + 158}" class="small">{data}</text>',
            f'<text x="{x + 22}" y="{y + 174}" class="small">SageMaker experiment of its own</text>',
        ]
    )


def draw() -> str:
    parts = [
        box(355, 20, 270, 30, "pod", "operator: fedsilo run start, watch"),
        box(300, 110, 380, 150, "account", "hub, in the aggregator's account"),
        box(
            314,
            142,
            172,
            104,
            "hub",
            "mail bucket",
            "runs/RUN/PARTY/…",
            "KMS, versioned, TLS only",
            "writer = prefix owner",
        ),
        box(494, 142, 172, 104, "hub", "queues, FIFO", "control and data", "for each party", "dead letters, alarms"),
        party(20, 330, "silo: cleveland", "trainer", "its own data bucket and key"),
        party(355, 330, "aggregator", "trainer", "global model, rounds, report"),
        party(690, 330, "silo: hungary", "trainer", "its own data bucket and key"),
        flow("M490 50 V110", "run.json, requests", 498, 84, "control"),
        flow("M155 330 C155 230 220 195 300 195", "updates, never data", 42, 300),
        flow("M490 330 V260", "global model", 498, 300),
        flow("M825 330 C825 230 760 195 680 195", "updates, never data", 836, 300),
        '<text x="20" y="548" class="small">No party has a network path to another, nor to the internet. '
        "Every arrow is an HTTPS request through the sender's own VPC endpoint, signed with its role.</text>",
    ]
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#516171"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Parties, each with a network and a cluster of its own, exchange mail through the hub">'
        f"<style>{STYLE}</style>{head}<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw())
