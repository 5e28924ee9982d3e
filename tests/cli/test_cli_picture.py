"""What a picture of a placement says, that nothing on it covers anything else, and the files."""

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from PIL import Image

from orchestrator.cli.failures import CommandFailed
from orchestrator.cli.picture import drawing, writing
from orchestrator.cli.picture.choosing import MOST_REFUSED, MOST_SITES
from orchestrator.cli.picture.graph import Kind, Row
from orchestrator.cli.picture.layout import scene
from orchestrator.cli.picture.scene import Box, Ink, Look, Scene
from orchestrator.cli.picture.titles import plan_graph, service_graph
from orchestrator.control.codec import to_json
from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.model.plan import Problem
from orchestrator.model.snapshot import Snapshot
from orchestrator.model.specs import SiteSpec, ZoneSpec
from orchestrator.model.view import PlacementView
from orchestrator.placement import place
from orchestrator.reconcile.planning import chosen, running
from orchestrator.reconcile.viewing import view
from tests.api.fake_control import RunningControl
from tests.cli.conftest import Skerry
from tests.cli.manifests import SERVICE, ZONE
from tests.placement.worlds import POLICY, SETTINGS, claim, cloud, cloud_leg, edge, relay_leg, service, snapshot
from tests.strategies import snapshots

LAN = ZoneSpec(ZoneName("hall-1"), None, SiteName("edge-b"))
CALLERS = ZoneSpec(ZoneName("default"), SiteName("cloud"), None)


def rough_width(text: str, size: float, bold: bool) -> float:
    return len(text) * size * 0.62


def view_of(world: Snapshot, before: Snapshot | None = None) -> PlacementView:
    old = place(before, SETTINGS, 0) if before else None
    decision = place(world, SETTINGS, 0)
    return view(old, decision, running(world.claims), chosen(decision), world, "d-1" if old else "")


def demo(slow_ms: float = 122.9) -> PlacementView:
    """A leg has become slow: edge-a is left for edge-b."""
    sites = [cloud(), edge("edge-a"), edge("edge-b", failure_domain="hall")]
    wanted = service(zones=("default", "hall-1"), version="digits-1")
    worlds = [
        snapshot(
            sites,
            [relay_leg("edge-a", a_ms), relay_leg("edge-b", 14), cloud_leg(30)],
            [wanted],
            [claim("edge-a", wanted), claim("edge-b", wanted)],
            (CALLERS, LAN),
        )
        for a_ms in (8.0, slow_ms)
    ]
    return view_of(worlds[1], worlds[0])


def fleet() -> PlacementView:
    """200 edge sites, of which many are taken and more are too slow."""
    sites: list[SiteSpec] = [cloud()]
    sites += [
        edge(f"shop-{at:03d}", cores=1, jurisdiction="EU" if at % 3 else "CH", failure_domain=f"town-{at // 2}")
        for at in range(200)
    ]
    legs = [cloud_leg(39), *(relay_leg(f"shop-{at:03d}", 5 + at / 2) for at in range(200))]
    zones = [ZoneSpec(ZoneName(f"city-{at:02d}"), SiteName("cloud"), None) for at in range(14)]
    zones += [ZoneSpec(ZoneName(f"till-{at:02d}"), None, SiteName(f"shop-{at:03d}")) for at in range(30)]
    policy = replace(POLICY, replicas_max=60, jurisdictions=None)
    wanted = service(policy, name="vision", version="vision-3", rate_rps=250, zones=[zone.name for zone in zones])
    return view_of(snapshot(sites, legs, [wanted], zones=zones))


def test_a_plan_says_what_stays_starts_and_stops_where_calls_go_and_why_a_site_is_refused() -> None:
    graph = plan_graph(demo())
    sites = {node.title: node for node in graph.sites}
    assert graph.title == "Plan: 1 replica stops"
    assert sites["edge-b"].rows == (Row(0, "digits-1 fp32", 1, 0, 0),)
    assert sites["edge-a"].rows == (Row(0, "digits-1 fp32", 0, 0, 1),)
    assert [note.text.startswith("too-slow 12") for note in sites["edge-a"].notes] == [True], "why it is left"
    assert sites["cloud"].relays == "relays 100 calls/s"
    assert [(note.services, note.text.split("\u00a0")[0].split()[0]) for note in sites["cloud"].notes] == [
        ((0,), "outranked")
    ]
    told = {(flow.start, flow.stop): (flow.relay, flow.label.split(" · ")[0], flow.ends) for flow in graph.flows}
    assert told == {
        ("zone/default", "site/edge-a"): ("site/cloud", "100→0%", True),
        ("zone/default", "site/edge-b"): ("site/cloud", "0→100%", False),
        ("lan/site/edge-b", "site/edge-b"): (None, "100%", False),
    }
    assert "compared with decision d-1" in graph.facts
    (worth,) = (fact for fact in graph.facts if fact.startswith("objective "))
    assert "no placement is below " in worth
    assert worth.endswith("(branch and bound): gap 0.0%")
    assert graph.alarm == ""


def test_a_refused_site_is_grey_and_says_its_number_and_limit() -> None:
    sites = [cloud(), edge("near"), edge("far")]
    world = snapshot(sites, [relay_leg("near", 9), relay_leg("far", 120.4), cloud_leg(38)], [service()])
    graph = service_graph(view_of(world))
    far = next(node for node in graph.sites if node.title == "far")
    (note,) = far.notes
    assert (note.services, note.text.startswith("too-slow 12"), note.text.endswith(">\u00a040\u00a0ms")) == (
        (0,),
        True,
        True,
    )
    looks = [shape.look for shape in scene(graph, rough_width).shapes]
    assert looks.count(Look.REFUSED_EDGE) == 1 + 1  # and the legend's
    assert graph.title == "digits: 1 replica at 1 site"


def test_calls_that_nobody_takes_are_loud() -> None:
    wanted = service(replace(POLICY, latency_p99_ms=1.0))
    graph = plan_graph(view_of(snapshot([edge("a")], [relay_leg("a", 60)], [wanted])))
    assert graph.alarm == "NOT SERVED: 100 calls/s of 1 zone"
    (zone,) = graph.zones
    assert [(a.text, a.nearest.startswith("a: too-slow")) for a in zone.alarms] == [("100% not served", True)]
    drawn = scene(graph, rough_width)
    assert sum(shape.look is Look.ALARM for shape in drawn.shapes) == 2


def test_a_fleet_shows_the_nearest_and_counts_the_rest() -> None:
    found = fleet()
    graph = plan_graph(found)
    (service_view,) = found.services
    alone = [node for node in graph.sites if node.stands_for == 1 and node.kind is Kind.EDGE]
    assert len(alone) <= MOST_SITES[Kind.EDGE] + MOST_REFUSED
    held = {one.site for one in service_view.replicas} - {"cloud"}
    assert sum(node.stands_for for node in graph.sites if node.kind is Kind.EDGE and node.rows) == len(held) > 20
    assert sum(row.starts for node in graph.sites for row in node.rows) == sum(
        one.starts for one in service_view.replicas
    )
    refused = sum(bool(node.notes) and not node.rows and not node.relays for node in graph.sites)
    (left_out,) = graph.left_out
    assert refused <= MOST_REFUSED
    in_all = len(service_view.refused) + sum(more.sites for more in service_view.refused_more)
    told = in_all - sum(bool(node.notes) for node in graph.sites)
    assert left_out.startswith(f"vision: {told} more refused sites: ")
    weights = [flow.weight for flow in graph.flows]
    assert max(weights) == pytest.approx(1)
    drawn = scene(graph, rough_width)
    assert drawn.height < 2_500
    assert_clear(drawn)


def test_what_is_not_kept_and_not_judged_is_told_below() -> None:
    wanted = service(replace(POLICY, survive_site_losses=1))
    found = view_of(snapshot([edge("a")], [relay_leg("a", 9)], [wanted]))
    problem = Problem(ServiceRef("default", "other"), "policy none does not exist")
    graph = plan_graph(replace(found, problems=(problem,)))
    judged, kept = graph.remarks
    assert judged == "Cannot be judged: default/other: policy none does not exist"
    assert kept.startswith("Not kept: digits: replicas.survive_site_losses 0 of 1")
    assert {judged, kept} <= {text.text for text in scene(graph, rough_width).texts}


def test_reasons_that_services_share_are_told_once() -> None:
    sites = [cloud(), edge("near"), edge("far")]
    legs = [relay_leg("near", 9), relay_leg("far", 120.4), cloud_leg(38)]
    graph = plan_graph(view_of(snapshot(sites, legs, [service(), service(name="words", version="w-1")])))
    far = next(node for node in graph.sites if node.title == "far")
    assert [note.services for note in far.notes] == [(0, 1)]
    near = next(node for node in graph.sites if node.title == "near")
    assert [row.text for row in near.rows] == ["digits-2 fp32", "words: w-1 fp32"]


def overlap(one: Box, other: Box) -> bool:
    return (
        min(one.right, other.right) - max(one.x, other.x) > 0.5
        and min(one.bottom, other.bottom) - max(one.y, other.y) > 0.5
    )


def assert_clear(drawn: Scene) -> None:
    """No words upon words, none beyond the edge, and no card upon a card."""
    for text in drawn.texts:
        assert text.box.x >= 0 <= text.box.y, text
        assert text.box.right <= drawn.width, text
        assert text.box.bottom <= drawn.height, text
    for one, other in combinations(drawn.texts, 2):
        assert not overlap(one.box, other.box), (one, other)
    cards = {Look.EDGE, Look.REGION, Look.MORE, Look.REFUSED_EDGE, Look.REFUSED_REGION, Look.ZONE, Look.LAN_ZONE}
    for one_card, other_card in combinations([s.box for s in drawn.shapes if s.look in cards], 2):
        assert not overlap(one_card, other_card), (one_card, other_card)
    for ribbon in drawn.ribbons:
        assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in ribbon.points)


@given(snapshots())
def test_nothing_covers_anything_else_and_the_same_placement_is_the_same_picture(world: Snapshot) -> None:
    found = view_of(world)
    graph = plan_graph(found)
    keys = {node.key for node in graph.sites} | {node.key for node in graph.zones}
    assert all({flow.start, flow.stop, flow.relay or flow.stop} <= keys for flow in graph.flows)
    drawn = scene(graph, rough_width)
    assert_clear(drawn)
    turned = replace(world, sites=world.sites[::-1], paths=world.paths[::-1], services=world.services[::-1])
    assert scene(plan_graph(view_of(turned)), rough_width) == drawn


def test_the_widest_names_are_shortened_and_stay_in_their_place() -> None:
    long = "a" + "-very-long-name" * 4 + "-z"
    wanted = service(name=long, version=long, zones=(long,))
    zone = ZoneSpec(ZoneName(long), SiteName("cloud"), None)
    world = snapshot([cloud(), edge(long)], [relay_leg(long, 9), cloud_leg(38)], [wanted], zones=(zone,))
    drawn = scene(plan_graph(view_of(world)), drawing.measure)
    assert_clear(drawn)
    assert any("…" in text.text for text in drawn.texts)


def content(graph_view: PlacementView, form: str) -> bytes:
    return writing.drawn(to_json(graph_view), plan_graph, form)


def test_a_png_is_one_and_has_two_pixels_for_a_point() -> None:
    data = content(demo(), "png")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    drawn = scene(plan_graph(demo()), drawing.measure)
    assert (width, height) == (int(drawn.width * 2), int(drawn.height * 2))
    assert 1_200 < width < 3_000
    assert 400 < height < 2_000
    assert 20_000 < len(data) < 400_000
    assert content(demo(), "png") == data


def test_a_palette_keeps_the_colours_of_rare_signs() -> None:
    image = Image.open(io.BytesIO(content(fleet(), "png"))).convert("RGB")
    seen = {colour for _, colour in image.getcolors(1 << 16) or ()}
    for ink in (*drawing.INKS.values(), drawing.GREY, drawing.SERVICES[0]):
        if ink not in (drawing.INKS[Ink.ALARM], drawing.INKS[Ink.INVERSE]):  # all calls are served
            wanted = [int(ink[at : at + 2], 16) for at in (1, 3, 5)]
            assert min(max(abs(a - b) for a, b in zip(wanted, one, strict=True)) for one in seen) < 12, ink


def test_an_svg_says_sites_reasons_and_answers_as_text() -> None:
    data = content(demo(), "svg")
    told = "\n".join(
        "".join(found.itertext()) for found in ET.fromstring(data).iter("{http://www.w3.org/2000/svg}text")
    )
    for wanted in (
        "cloud",
        "edge-a",
        "edge-b",
        "default",
        "hall-1",
        "too-slow",
        "outranked",
        "0→100% ·",
        "relays 100 calls/s",
    ):
        assert wanted in told, told
    assert content(demo(), "svg") == data


def test_a_view_of_another_release_or_none_at_all() -> None:
    with pytest.raises(CommandFailed, match="knows no pictures: it is older"):
        writing.drawn("", plan_graph, "png")
    later = json.loads(to_json(demo()))
    later["services"][0]["refused"][0]["reason"] = "moonlight"
    with pytest.raises(
        CommandFailed, match=r"services\.0\.refused\.0\.reason is not understood: it is of another release"
    ):
        writing.drawn(json.dumps(later), plan_graph, "png")


def test_a_name_that_no_picture_can_have(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name, told in (
        ("folder.png", "is a folder: name a file in it"),
        ("placement.jpg", r"let it end in \.png or \.svg"),
        ("placement", r"let it end in \.png or \.svg"),
        ("nowhere/placement.png", "does not exist: create it first"),
    ):
        with pytest.raises(CommandFailed, match=told):
            writing.checked(str(tmp_path / name))
    assert writing.checked(str(tmp_path / "PLACEMENT.PNG")).name == "PLACEMENT.PNG"
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.png"]


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "matplotlib")
    with pytest.raises(CommandFailed, match=r"pip install 'skerry\[picture\]'"):
        writing.checked(str(tmp_path / "placement.png"))


@pytest.mark.real
def test_plan_and_explain_draw_what_they_tell(skerry: Skerry, running: RunningControl, tmp_path: Path) -> None:
    skerry("apply", "-f", "-", stdin=SERVICE.encode())
    plan, service_file = tmp_path / "plan.svg", tmp_path / "digits.png"
    plan.write_text("an older picture")
    ran = skerry("plan", "-f", "-", "--png", str(plan), stdin=ZONE.encode())
    assert (ran.code, ran.err) == (2, "")
    assert ran.out == skerry("plan", "-f", "-", stdin=ZONE.encode()).out
    for wanted in ("harbour", "local", "too-slow", "NOT SERVED"):
        assert wanted in plan.read_text()
    assert skerry("explain", "digits", "--png", str(service_file)).code == 0
    assert service_file.read_bytes().startswith(b"\x89PNG")
    assert skerry("explain", "digits", "--site", "local", "--png", str(service_file)).code == 2


@pytest.mark.real
def test_a_picture_that_cannot_be_written_fails_the_verb(
    skerry: Skerry, running: RunningControl, tmp_path: Path
) -> None:
    for name, told in (
        (tmp_path, "is a folder"),
        (tmp_path / "a" / "b.png", "create it first"),
        ("p.gif", ".png or .svg"),
    ):
        ran = skerry("plan", "--png", str(name))
        assert (ran.code, ran.out) == (1, "")
        assert told in ran.err
    full = skerry("plan", "--png", "/proc/placement.png")  # a folder in which nobody can create a file
    assert (full.code, "cannot be written" in full.err, "that you may write to" in full.err) == (1, True, True)
