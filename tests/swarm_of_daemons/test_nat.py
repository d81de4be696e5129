"""Real daemons behind translators (NAT), in network namespaces, with one open helper that holds nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster
from fruitd.demo.images import DemoImages
from tests.swarm_of_daemons.nat import SYMMETRIC, places, settle

pytestmark = [pytest.mark.swarm, pytest.mark.root]

PATIENCE_S = 120.0


def test_nodes_behind_translators_meet_and_go_on_without_the_helper(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages
) -> None:
    """Sites at home and in schools stand behind translators, all with the same private addresses: without a meeting all of them
    would hang on whoever is open."""
    with places() as wide:
        cluster = make_cluster(beacon=False)
        helper_place, helper_address = wide.open_place()
        contacts = [f"{helper_address}:47101"]
        helper = settle(cluster, "helper", helper_place, [])
        behind = [settle(cluster, f"site-{n}", wide.behind()[0], contacts) for n in (1, 2, 3)]
        for node in cluster.nodes:
            node.start()
        try:
            cluster.wait("all meet", behind, lambda s: s["peers"]["heard"] == 3, timeout_s=PATIENCE_S)
            helper.stop()
            bundle = maintainers.release(images.good[0], 1, cluster.settings.directory / "release-1")
            publish(behind[0], bundle)
            cluster.wait(
                "news without the helper",
                behind,
                lambda s: s["trust"]["manifest_sequence"] == 1,
                timeout_s=PATIENCE_S,
            )
        finally:
            cluster.close()


def test_a_node_knows_that_it_stands_behind_a_translator(make_cluster: Callable[..., Cluster]) -> None:
    """Its owner asks why nobody reaches it, and nobody may be told that it could be asked."""
    with places() as wide:
        cluster = make_cluster(beacon=False)
        open_places = [wide.open_place() for _ in range(3)]
        contacts = [f"{address}:47101" for _, address in open_places]
        opened = [settle(cluster, f"open-{n}", place, contacts) for n, (place, _) in enumerate(open_places)]
        cone_place, cone_address = wide.behind()
        cone = settle(cluster, "cone", cone_place, contacts)
        symmetric = settle(cluster, "symmetric", wide.behind(SYMMETRIC)[0], contacts)
        for node in cluster.nodes:
            node.start()
        try:
            cluster.wait(
                "the translator is noticed",
                [cone],
                lambda s: f"{cone_address}:47101" in s["dht"]["reach"] and not s["dht"]["open"],
                timeout_s=PATIENCE_S,
            )
            cluster.wait(
                "and one that shows everybody another port",
                [symmetric],
                lambda s: "another address" in s["dht"]["reach"] and not s["dht"]["open"],
                timeout_s=PATIENCE_S,
            )
            cluster.wait(
                "open nodes say so", opened, lambda s: s["dht"]["open"] is True, timeout_s=PATIENCE_S
            )
        finally:
            cluster.close()


def test_an_image_gets_from_one_translated_site_to_others_past_a_helper_that_holds_nothing(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages
) -> None:
    """A release held only behind translators would reach nobody: neither its torrent nor its bytes can be fetched from
    outside."""
    with places() as wide:
        cluster = make_cluster(beacon=False)
        helper_place, helper_address = wide.open_place()
        contacts = [f"{helper_address}:47101"]
        settle(cluster, "helper", helper_place, [])
        publisher = settle(cluster, "publisher", wide.behind()[0], contacts)
        sites = [settle(cluster, f"site-{n}", wide.behind()[0], contacts, slots=True) for n in (1, 2)]
        for node in cluster.nodes:
            node.start()
        try:
            everybody = [publisher, *sites]
            cluster.wait("all meet", everybody, lambda s: s["peers"]["heard"] == 3, timeout_s=PATIENCE_S)
            publish(
                publisher, maintainers.release(images.good[0], 1, cluster.settings.directory / "release-1")
            )
            cluster.wait("the release runs", sites, lambda s: _runs(s, 1), timeout_s=2 * PATIENCE_S)
            # The helper passed control traffic on, and not the image: that is several MiB.
            helper = cluster.nodes[0].get("/v1/status")
            assert helper is not None
            assert helper["seeding"] == []
            assert helper["traffic"]["sent_bytes"] < images.good[0].stat().st_size / 4
        finally:
            cluster.close()


def test_a_release_goes_from_one_place_that_lets_no_datagrams_out_to_another(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages
) -> None:
    """Networks that let out TCP and nothing else are common in universities: their nodes would neither hear of a release nor
    give one."""
    with places() as wide:
        cluster = make_cluster(beacon=False)
        open_place, open_address = wide.open_place()
        contacts = [f"{open_address}:47101"]
        opened = settle(cluster, "open", open_place, [], slots=True)
        publisher = settle(cluster, "publisher", wide.behind(shut_in=True)[0], contacts)
        site = settle(cluster, "site", wide.behind(shut_in=True)[0], contacts, slots=True)
        for node in cluster.nodes:
            node.start()
        try:
            inside = [publisher, site]
            cluster.wait(
                "they say so", inside, lambda s: "shut in" in s["dht"]["reach"], timeout_s=PATIENCE_S
            )
            publish(
                publisher, maintainers.release(images.good[0], 1, cluster.settings.directory / "release-1")
            )
            cluster.wait("the release runs", [opened, site], lambda s: _runs(s, 1), timeout_s=2 * PATIENCE_S)
            for node in inside:  # nothing of the image came by a relay: the one that is open wanted it itself
                status = node.get("/v1/status")
                assert status is not None
                assert status["dht"]["open"] is False
        finally:
            cluster.close()


def _runs(status: dict[str, Any], release: int) -> bool:
    active = status["slots"]["active"]
    return active is not None and status["slots"][active]["release"] == release


def test_torrent_and_leaves_are_passed_on_between_two_symmetric_sites(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages
) -> None:
    """Behind translators that show each peer another port, a site could not even begin with what another one published."""
    with places() as wide:
        cluster = make_cluster(beacon=False)
        helper_place, helper_address = wide.open_place()
        contacts = [f"{helper_address}:47101"]
        helper = settle(cluster, "helper", helper_place, [])
        publisher = settle(cluster, "publisher", wide.behind(SYMMETRIC)[0], contacts)
        site = settle(cluster, "site", wide.behind(SYMMETRIC)[0], contacts, slots=True)
        for node in cluster.nodes:
            node.start()
        try:
            everybody = [publisher, site]
            cluster.wait(
                "both know the helper", everybody, lambda s: s["peers"]["heard"] == 1, timeout_s=PATIENCE_S
            )
            publish(
                publisher, maintainers.release(images.good[0], 1, cluster.settings.directory / "release-1")
            )
            cluster.wait(
                "torrent and leaves are there",
                [site],
                lambda s: s["update"]["state"] == "fetching",
                timeout_s=2 * PATIENCE_S,
            )
            status = helper.get("/v1/status")
            assert status is not None
            assert 0 < status["traffic"]["passed_on_bytes"] < images.good[0].stat().st_size / 4
            assert status["seeding"] == []
        finally:
            cluster.close()


def test_an_image_is_relayed_between_two_symmetric_sites_where_the_helper_may(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages
) -> None:
    """Behind translators that show each peer another port, neither ever gets a byte of an image from the other."""
    with places() as wide:
        cluster = make_cluster(beacon=False)
        helper_place, helper_address = wide.open_place()
        contacts = [f"{helper_address}:47101"]
        helper = settle(cluster, "helper", helper_place, [], transfer="relay_images = true\n")
        publisher = settle(cluster, "publisher", wide.behind(SYMMETRIC)[0], contacts)
        site = settle(cluster, "site", wide.behind(SYMMETRIC)[0], contacts, slots=True)
        for node in cluster.nodes:
            node.start()
        try:
            everybody = [publisher, site]
            cluster.wait(
                "both know the helper", everybody, lambda s: s["peers"]["heard"] == 1, timeout_s=PATIENCE_S
            )
            publish(
                publisher, maintainers.release(images.good[0], 1, cluster.settings.directory / "release-1")
            )
            cluster.wait("the release runs", [site], lambda s: _runs(s, 1), timeout_s=4 * PATIENCE_S)
            status = helper.get("/v1/status")
            assert status is not None
            (row,) = status["seeding"]
            assert (row["release"], row["parcel"]) == (1, False)
            # Zeros of the image came from nowhere.
            assert 0 < status["bytes"]["relay"] <= images.good[0].stat().st_size
            told = helper.get("/v1/history")
            assert told is not None
            assert {"relaying", "relayed"} <= {event["what"] for event in told["events"]}
        finally:
            cluster.close()
