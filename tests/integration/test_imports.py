"""Imports: their life in SQL, and over HTTP."""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from shared import catalogue, imports, jobs, waiting, workers
from shared.artifacts import ArtifactStore
from shared.database import Database, utc_now
from shared.datasets.bundled import BUNDLED
from shared.errors import Conflict, InvalidInput, LeaseLost, NotFound, StoreUnavailable
from shared.models import Dataset, DatasetVersion, Import, TicketStatus, Worker
from shared.reading import ReadDone
from shared.settings import Settings
from shared.spec.dataset_import import DatasetImport, ImportOptions
from shared.submit import submit_job
from shared.tickets import Ticket
from tests.importing import DATASETS, begun, look, send, stored
from tests.web_client import json_of, serving
from web.api import dataset_schemas, schemas

FILE = {"name": "a.csv", "part": None, "bytes": 3, "sha256": "0" * 64, "path": "uploads/1/61"}


@pytest.fixture
def known_sets(database: Database) -> Database:
    with database.write() as session:
        catalogue.register_bundled(session)
    return database


def begin(database: Database, name: str = "flowers", **changes: Any) -> int:
    with database.write() as session:
        return imports.begin(session, DatasetImport(name=name, **changes), actor="ann").id


def begin_and_start(database: Database, name: str = "flowers", **changes: Any) -> int:
    import_id = begin(database, name, **changes)
    with database.write() as session:
        imports.add_file(session, import_id, FILE)
    with database.write() as session:
        imports.start(session, import_id)
    return import_id


def must_claim(database: Database, lease_seconds: float = 60) -> Ticket:
    with database.write() as session:
        ticket = imports.claim(session, "w1", lease_seconds=lease_seconds)
    assert ticket is not None
    return ticket


def read_done(version: str = "a" * 64, **changes: Any) -> ReadDone:
    content = {
        "version": version,
        "train_images": 8,
        "test_images": 2,
        "height": 8,
        "width": 8,
        "channels": 1,
        "classes": ["cat", "dog"],
        "report": BUNDLED["mnist"].report(),
        "notes": ["A note."],
    }
    return ReadDone.model_validate(content | changes)


def publish(database: Database, done: ReadDone, name: str = "flowers", **changes: Any) -> Any:
    begin_and_start(database, name, **changes)
    ticket = must_claim(database)
    with database.write() as session:
        return imports.publish(session, ticket, done, f"datasets/{done.version}")


def count(database: Database, model: type[Any]) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(model)) or 0


# --- in SQL -------------------------------------------------------------------------------------


def test_an_import_becomes_a_version_in_one_step(known_sets: Database) -> None:
    import_id = begin(known_sets, title="Flowers", attribution="A. Gardener")
    assert look(known_sets, import_id).status is TicketStatus.UPLOADING
    with known_sets.write() as session:
        imports.add_file(session, import_id, FILE)
        imports.add_file(session, import_id, FILE | {"bytes": 4})  # the same name: instead
    with known_sets.write() as session:
        assert imports.start(session, import_id).files == [FILE | {"bytes": 4}]
    ticket = must_claim(known_sets)
    assert ticket.id == import_id
    with known_sets.write() as session:
        imports.renew(session, ticket, lease_seconds=60, progress={"doing": "x", "share": 0.5})
    with known_sets.write() as session:
        report = imports.publish(session, ticket, read_done(), "datasets/a")
    over = look(known_sets, import_id)
    assert (over.status, over.report) == (TicketStatus.DONE, report)
    assert report == {"version": "a" * 64, "known": False, "others": [], "notes": ["A note."]}
    with known_sets.read() as session:
        dataset, version = catalogue.find(session, "flowers")
        assert (dataset.title, dataset.attribution) == ("Flowers", "A. Gardener")
        assert (version.uri, version.classes) == ("datasets/a", ["cat", "dog"])
        assert version.report is not None
    with pytest.raises(LeaseLost), known_sets.write() as session:
        imports.publish(session, ticket, read_done("b" * 64), "datasets/b")
    assert count(known_sets, DatasetVersion) == 2  # MNIST's, and this one


def test_what_lost_its_ticket_changes_no_data_set(known_sets: Database) -> None:
    begin_and_start(known_sets)
    lost = must_claim(known_sets, lease_seconds=-1)
    must_claim(known_sets)
    with pytest.raises(LeaseLost), known_sets.write() as session:
        imports.publish(session, lost, read_done(), "datasets/a")
    assert count(known_sets, Dataset) == 1


def test_the_newest_version_is_the_last_one_added_also_when_it_was_there_before(
    known_sets: Database,
) -> None:
    first, second = read_done("a" * 64), read_done("b" * 64)
    publish(known_sets, first, title="Old title", description="Old words")
    publish(known_sets, second, title="New title")
    with known_sets.read() as session:
        dataset, version = catalogue.find(session, "flowers")
        assert (dataset.title, dataset.description) == ("New title", "Old words")
        assert version.version == second.version
    assert publish(known_sets, first)["known"] is True
    with known_sets.read() as session:
        dataset, version = catalogue.find(session, "flowers")
        assert version.version == first.version
        assert [each.version for each in catalogue.versions(session, dataset)] == [
            first.version,
            second.version,
        ]
        assert catalogue.find(session, "flowers", "bbbb")[1].version == second.version
        assert next(row[1].version for row in catalogue.newest(session)) == first.version


def test_the_same_content_under_another_name_is_recognised(known_sets: Database) -> None:
    publish(known_sets, read_done(), "flowers")
    report = publish(known_sets, read_done(), "blooms")
    assert (report["known"], report["others"]) == (False, ["flowers"])
    with known_sets.write() as session:
        assert catalogue.delete(session, "flowers") == []  # blooms has the files still
    with known_sets.write() as session:
        assert catalogue.delete(session, "blooms") == [f"datasets/{'a' * 64}"]
    with known_sets.read() as session, pytest.raises(NotFound, match="'blooms'"):
        catalogue.find(session, "blooms")


def test_bundled_data_sets_stay_as_they_are(known_sets: Database) -> None:
    with known_sets.write() as session, pytest.raises(Conflict, match="stays as it is"):
        imports.begin(session, DatasetImport(name="mnist"))
    with known_sets.write() as session, pytest.raises(Conflict, match="stays as it is"):
        catalogue.delete(session, "mnist")


def test_an_import_takes_files_only_before_its_start(known_sets: Database) -> None:
    import_id = begin(known_sets)
    with known_sets.write() as session, pytest.raises(InvalidInput, match="at least one file"):
        imports.start(session, import_id)
    with known_sets.write() as session:
        for place in range(imports.MOST_FILES):
            imports.add_file(session, import_id, FILE | {"name": str(place)})
        with pytest.raises(InvalidInput, match="at most 64"):
            imports.add_file(session, import_id, FILE)
    with known_sets.write() as session:
        imports.start(session, import_id)
    with known_sets.write() as session, pytest.raises(Conflict, match="it is queued"):
        imports.start(session, import_id)
    with known_sets.write() as session, pytest.raises(Conflict, match="it is queued"):
        imports.add_file(session, import_id, FILE)


def test_one_that_is_lost_twice_is_given_up_and_old_ones_are_forgotten(
    known_sets: Database,
) -> None:
    import_id = begin_and_start(known_sets)
    for _ in range(imports.MAX_TRIES):
        must_claim(known_sets, lease_seconds=-1)
    with known_sets.write() as session:
        assert imports.claim(session, "w1", lease_seconds=60) is None
        imports.tidy(session)
    failure = look(known_sets, import_id).failure
    assert failure is not None
    assert failure["kind"] == "lost"
    abandoned = begin(known_sets)
    day = 86_400
    with known_sets.write() as session:
        session.execute(sa.update(Import).values(requested_at=utc_now(-day - 60)))
        assert imports.not_over(session) == {abandoned}
        imports.tidy(session)
        assert imports.not_over(session) == set()
        session.execute(sa.update(Import).values(finished_at=utc_now(-31 * day)))
        imports.tidy(session)
    assert count(known_sets, Import) == 0


def test_one_that_is_given_back_is_taken_again_as_if_never_tried(known_sets: Database) -> None:
    begin_and_start(known_sets)
    for _ in range(imports.MAX_TRIES + 1):
        ticket = must_claim(known_sets)
        with known_sets.write() as session:
            imports.give_back(session, ticket)
    must_claim(known_sets)


def test_a_data_set_that_a_job_needs_cannot_go(settings: Settings, known_sets: Database) -> None:
    from shared.queue import Bell

    publish(known_sets, read_done())
    body = {"spec": {"dataset": {"name": "flowers"}, "batch_size": 4, "epochs": 1}}
    job_id = submit_job(known_sets, Bell(settings), settings, body).job.id
    with known_sets.write() as session, pytest.raises(Conflict, match=f"job {job_id} is not over"):
        catalogue.delete(session, "flowers")
    with known_sets.write() as session:
        jobs.request_cancel(session, job_id)
    with known_sets.write() as session:
        assert catalogue.delete(session, "flowers")


def add_worker(database: Database, name: str, **info: Any) -> None:
    """Enter a living worker."""
    with database.write() as session:
        row = Worker(name=name, hostname=name, pid=1, queues=["default"], slots=[], info=info)
        row.started_at = row.heartbeat_at = utc_now()
        session.add(row)


def test_one_true_sentence_says_why_an_import_waits(known_sets: Database) -> None:
    first, second, third = [begin_and_start(known_sets, name) for name in ("a", "b", "c")]

    def sentences() -> dict[int, str]:
        with known_sets.read() as session:
            return waiting.explain_imports(session, lease_seconds=60)

    assert sentences()[first] == "No worker is connected: it waits until one is."
    add_worker(known_sets, "w1", imports=False)
    assert "None of the connected workers imports" in sentences()[third]
    add_worker(known_sets, "w2")  # of a release that did not say it
    assert sentences() == {
        first: "A worker takes it in a moment.",
        second: "1 import ahead on the only worker that imports.",
        third: "2 imports ahead on the only worker that imports.",
    }
    must_claim(known_sets)
    add_worker(known_sets, "w3", imports=True)
    assert sentences() == {
        second: "A worker takes it in a moment.",
        third: "2 imports ahead on 2 workers.",
    }
    with known_sets.write() as session:
        for name in ("w2", "w3"):
            workers.request_drain(session, name, reason="A new disk.")
    assert "Every worker that imports drains" in sentences()[second]


# --- over HTTP ----------------------------------------------------------------------------------


def fields_of(answer: TestResponse) -> list[str]:
    return [error["field"] for error in json_of(answer)["errors"]]


def test_files_are_sent_as_they_are_and_the_import_started(
    client: FlaskClient, settings: Settings
) -> None:
    path = begun(client, options={"label_column": "kind"})
    dataset_schemas.Import.model_validate_json(client.get(path).data)
    content = b"\x00\xff" * 300_000
    assert send(client, path, "../../etc/passwd", content).status_code == 404
    assert fields_of(send(client, path, "..\\..\\etc", content)) == ["name"]
    answer = send(client, path, "train data.csv", content, query_string={"part": "train"})
    row = dataset_schemas.Import.model_validate_json(answer.data)
    assert row.status is TicketStatus.UPLOADING
    (file,) = row.files
    assert (file.name, file.part, file.bytes) == ("train data.csv", "train", 600_000)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert len(stored(settings)) == 1
    started = client.post(f"{path}/start", json={})
    assert started.status_code == 202
    assert json_of(started)["status"] == "queued"
    assert send(client, path, "late.csv", b"1").status_code == 409
    assert client.post(f"{path}/start", json={}).status_code == 409
    listed = client.get("/api/v1/imports")
    schemas.Listing[dataset_schemas.Import].model_validate_json(listed.data)
    assert client.delete(path).status_code == 204
    assert stored(settings) == []
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404
    assert begun(client) != path  # whoever still deletes its files harms no other import


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "Not A Name"}, "name"),
        ({"name": "new"}, "name"),  # its page would be the form
        ({"name": "flowers", "known": "imagenet"}, "known"),
        ({"name": "flowers", "options": {"test_fraction": 1}}, "options.test_fraction"),
        ({"name": "flowers", "options": {"height": 300}}, "options.height"),
        ({"name": "flowers", "options": {"format": "pickle"}}, "options.format"),
        ({"name": "flowers", "path": "/etc/passwd"}, "path"),
    ],
)
def test_what_is_no_import_is_refused_by_field(
    client: FlaskClient, database: Database, body: Any, field: str
) -> None:
    answer = client.post(DATASETS, json=body)
    assert answer.status_code == 422
    assert fields_of(answer) == [field]
    assert count(database, Import) == 0


def test_a_bundled_name_is_refused(client: FlaskClient) -> None:
    assert client.post(DATASETS, json={"name": "mnist"}).status_code == 409
    assert client.delete(f"{DATASETS}/mnist").status_code == 409


def test_a_file_that_is_too_large_leaves_nothing(settings: Settings, database: Database) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 1000})
    with serving(small, database) as client:
        path = begun(client)
        assert send(client, path, "a.csv", b"x" * 1000).status_code == 200
        assert send(client, path, "b.csv", b"x" * 1001).status_code == 413
        stream = io.BytesIO(b"x" * 5000)  # of a length that is not said beforehand
        chunked = {"wsgi.input": stream, "wsgi.input_terminated": True}
        answer = client.put(f"{path}/files/c.csv", environ_overrides=chunked)
        assert answer.status_code == 413
        assert [file["name"] for file in json_of(client.get(path))["files"]] == ["a.csv"]
        assert len(stored(settings)) == 1


def test_a_connection_that_breaks_leaves_nothing(client: FlaskClient, settings: Settings) -> None:
    path = begun(client)
    broken = {"wsgi.input": io.BytesIO(b"x" * 500), "CONTENT_LENGTH": "1000"}
    answer = client.put(f"{path}/files/a.csv", environ_overrides=broken)
    assert answer.status_code == 400
    assert json_of(client.get(path))["files"] == []
    assert stored(settings) == []


def test_a_store_that_deletes_nothing_hides_no_answer(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(store: ArtifactStore, path: str) -> None:
        raise StoreUnavailable("The artifact store cannot be used: it is silent")

    monkeypatch.setattr(ArtifactStore, "delete", delete)
    path = begun(client)
    for _ in range(2):
        assert send(client, path, "a.csv", b"1").status_code == 200
    monkeypatch.setattr(imports, "MOST_FILES", 0)
    assert fields_of(send(client, path, "a.csv", b"1")) == ["files"]
    assert client.delete(path).status_code == 204


def test_names_parts_and_other_sites_are_checked(client: FlaskClient) -> None:
    path = begun(client)
    assert fields_of(send(client, path, "a.csv", b"1", query_string={"part": "all"})) == ["part"]
    assert fields_of(send(client, path, "x" * 256, b"1")) == ["name"]
    assert fields_of(send(client, path, "a\nb.csv", b"1")) == ["name"]
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert send(client, path, "a.csv", b"1", headers=elsewhere).status_code == 403
    assert client.put("/api/v1/imports/99/files/a.csv", data=b"1").status_code == 404


def test_public_sets_are_listed_and_fill_in_what_is_not_said(client: FlaskClient) -> None:
    listed = client.get("/api/v1/known-datasets")
    schemas.Listing[dataset_schemas.KnownRow].model_validate_json(listed.data)
    assert [row["name"] for row in json_of(listed)["items"]] == [
        "fashion_mnist",
        "kmnist",
        "emnist",
        "cifar10",
    ]
    everything = ImportOptions(seed=3).model_dump(mode="json")  # as a form sends it
    path = begun(client, "clothes", known="fashion_mnist", title="Mine", options=everything)
    asked = json_of(client.get(path))["request"]
    assert asked["title"] == "Mine"
    assert "Zalando" in asked["attribution"]
    assert asked["options"]["class_names"][9] == "Ankle boot"
    assert asked["options"]["seed"] == 3
    assert client.post(f"{path}/start", json={}).status_code == 202  # without files: to be fetched


def test_samples_are_drawn_by_part_class_and_seed(client: FlaskClient) -> None:
    path = f"{DATASETS}/mnist/samples"
    answer = client.get(path, query_string={"part": "test", "label": 7, "count": 5, "seed": 3})
    schemas.Listing[dataset_schemas.Sample].model_validate_json(answer.data)
    items = json_of(answer)["items"]
    assert len(items) == 5
    labels = BUNDLED["mnist"].read("y_test")
    assert all(item["class_name"] == "7" and labels[item["row"]] == 7 for item in items)
    image = client.get(f"{DATASETS}/mnist/test/{items[0]['row']}.png")
    with Image.open(io.BytesIO(image.data)) as png:
        pixels = np.asarray(png)
    assert (pixels == BUNDLED["mnist"].read("x_test")[items[0]["row"], ..., 0]).all()
    other = json_of(client.get(path, query_string={"part": "test", "count": 5, "seed": 4}))
    assert [item["row"] for item in other["items"]] != [item["row"] for item in items]
    for query, field in (
        ({"label": 10}, "label"),
        ({"part": "all"}, "part"),
        ({"count": 0}, "count"),
        ({"rows": 1}, "rows"),
    ):
        assert fields_of(client.get(path, query_string=query)) == [field]
    assert client.get(f"{DATASETS}/nothing/samples").status_code == 404
    assert client.get(f"{DATASETS}/mnist/test/10000.png").status_code == 404
    assert client.get(f"{DATASETS}/mnist/other/1.png").status_code == 404


def test_mean_images_are_shown_in_the_order_of_the_classes(client: FlaskClient) -> None:
    answer = client.get(f"{DATASETS}/mnist/means")
    schemas.Listing[dataset_schemas.MeanImage].model_validate_json(answer.data)
    assert [item["class_name"] for item in json_of(answer)["items"]] == list("0123456789")
    one = client.get(f"{DATASETS}/mnist/means/3.png")
    assert (one.mimetype, one.data[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert client.get(f"{DATASETS}/mnist/means/10.png").status_code == 404


def test_an_image_of_a_version_is_kept_by_the_browser(client: FlaskClient) -> None:
    version = BUNDLED["mnist"].content.version
    path = f"{DATASETS}/mnist/train/5.png"
    assert (
        "immutable" in client.get(path, query_string={"version": version}).headers["Cache-Control"]
    )
    assert "immutable" not in client.get(path).headers["Cache-Control"]


def test_a_version_of_an_older_release_gets_its_report(known_sets: Database) -> None:
    with known_sets.write() as session:
        session.execute(sa.update(DatasetVersion).values(report=sa.null()))
    with known_sets.write() as session:
        catalogue.register_bundled(session)
        assert catalogue.find(session, "mnist")[1].report == BUNDLED["mnist"].report()


# --- on the pages -------------------------------------------------------------------------------

FAULT = {"file": "a.csv", "row": 60_001, "column": "p<3>", "value": "dark", "rule": "A number."}


def fail(database: Database, name: str, **failure: Any) -> int:
    """Have an import fail."""
    import_id = begin_and_start(database, name)
    ticket = must_claim(database)
    usual = {"kind": "data", "evidence": "Broken.", "suggestion": "Correct it.", "faults": []}
    with database.write() as session:
        imports.fail(session, ticket, usual | failure)
    return import_id


def test_a_failed_import_stands_in_the_list_for_a_day_unless_it_is_dismissed(
    client: FlaskClient, database: Database
) -> None:
    dismissed = fail(database, "petals", faults=[FAULT])
    fail(database, "stones", kind="lost", evidence="2 workers fell silent.")
    page = client.get("/datasets").text
    assert "petals: the files could not be read" in page
    assert "stones: the import could not be carried out" in page
    for words in ("60,001", "p&lt;3&gt;", "dark", "A number.", "2 workers fell silent.", "by ann"):
        assert words in page
    assert client.delete(f"/api/v1/imports/{dismissed}").status_code == 204
    assert "petals" not in client.get("/datasets").text
    with database.write() as session:
        session.execute(sa.update(Import).values(finished_at=utc_now(-90_000)))
    assert "stones" not in client.get("/datasets").text


def publish_mnist(database: Database, name: str, **changes: Any) -> ReadDone:
    """Have an import made of MNIST's own files, which pages can show."""
    done = read_done(**BUNDLED["mnist"].content.as_dict() | changes)
    begin_and_start(database, name)
    ticket = must_claim(database)
    with database.write() as session:
        imports.publish(session, ticket, done, "bundled:mnist")
    return done


def test_how_a_version_was_read_stays_on_its_page(client: FlaskClient, database: Database) -> None:
    publish_mnist(database, "flowers")
    with database.write() as session:
        session.execute(sa.delete(Import))  # as it is after a month
    assert "How it was read" in (page := client.get("/datasets/flowers").text)
    assert "A note." in page
    assert json_of(client.get(f"{DATASETS}/flowers"))["report"]["notes"] == ["A note."]
    assert "How it was read" not in client.get("/datasets/mnist").text


def test_repeats_and_empty_images_are_read_together_and_once(
    client: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each part in one go: a store may be far away."""
    twins = [
        {
            "part": part,
            "row": row,
            "label": 1,
            "of_part": "train",
            "of_row": row + 50,
            "of_label": 2,
        }
        for row, part in enumerate(["train", "test"] * 6)
    ]
    report = BUNDLED["mnist"].report()
    report["repeats"] |= {"train": 6, "leaked": 6, "examples": twins}
    report["train"] |= {"near_empty": 1, "near_empty_rows": [7]}
    report["test"] |= {"near_empty": 1, "near_empty_rows": [9]}
    publish_mnist(database, "twins", report=report)
    asked: list[str] = []
    ranges = ArtifactStore.ranges

    def count_ranges(store: ArtifactStore, path: str, spans: Any, **options: Any) -> list[bytes]:
        asked.append(path)
        return ranges(store, path, spans, **options)

    monkeypatch.setattr(ArtifactStore, "ranges", count_ranges)
    page = client.get("/datasets/twins").text
    assert page.count('class="pair"') == 12
    # Of samples, means and these: headers, then pixels and labels.
    assert len(asked) <= 12
    asked.clear()
    assert client.get("/datasets/twins").text.count('class="pair"') == 12
    assert asked == []


def test_a_waiting_import_says_why_in_list_form_and_api(
    client: FlaskClient, database: Database
) -> None:
    path = begun(client)
    assert json_of(client.get(path))["waiting"] is None
    send(client, path, "a.csv", b"1")
    started = client.post(f"{path}/start", json={})
    sentence = "No worker is connected: it waits until one is."
    assert dataset_schemas.Import.model_validate_json(started.data).waiting == sentence
    assert json_of(client.get(path))["waiting"] == sentence
    assert json_of(client.get("/api/v1/imports"))["items"][0]["waiting"] == sentence
    assert sentence in client.get("/datasets").text
    assert sentence in client.get("/datasets/new").text


def test_a_new_version_of_a_public_set_is_read_as_that_set_again(
    client: FlaskClient, database: Database
) -> None:
    def chosen(path: str) -> list[str]:
        return re.findall(r'name="known" value="(\w*)"[^>]* checked', client.get(path).text)

    assert chosen("/datasets/new") == [""]
    publish(database, read_done("a" * 64), "fashion_mnist", known="fashion_mnist")
    publish(database, read_done("b" * 64), "clothes", known="fashion_mnist")
    publish(database, read_done("c" * 64), "flowers")
    assert chosen("/datasets/new?name=fashion_mnist") == ["fashion_mnist"]
    assert chosen("/datasets/new?name=clothes") == ["fashion_mnist"]
    assert "kmnist" not in client.get("/datasets/new?name=clothes").text
    assert chosen("/datasets/new?name=flowers") == []
    with database.write() as session:
        session.execute(sa.delete(Import))  # as it is after a month
    assert chosen("/datasets/new?name=fashion_mnist") == ["fashion_mnist"]
