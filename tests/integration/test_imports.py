"""Imports: their life in SQL, over HTTP, and on a real worker."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from shared import catalogue, imports, jobs
from shared.database import Database, utc_now
from shared.datasets import known
from shared.datasets.bundled import BUNDLED
from shared.datasets.layout import Description
from shared.errors import Conflict, InvalidInput, LeaseLost, NotFound
from shared.models import Dataset, DatasetVersion, Import, TicketStatus, Worker
from shared.protocol import ReadDone
from shared.settings import Settings
from shared.spec.dataset_import import DatasetImport, ImportOptions
from shared.submit import submit_job
from shared.tickets import Ticket
from tests.importing import DATASETS, begun, look, reader_of, send, start, stored, wait_over
from tests.sent_files import digits, idx, npz, table, zipped
from tests.waiting import wait_until
from tests.web_client import json_of, serving
from tests.worker_yard import Yard, make_yard
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
        assert imports.tidy(session) == []
    failure = look(known_sets, import_id).failure
    assert failure is not None
    assert failure["kind"] == "lost"
    abandoned = begin(known_sets)
    day = 86_400
    with known_sets.write() as session:
        session.execute(sa.update(Import).values(requested_at=utc_now(-day - 60)))
        assert imports.tidy(session) == [abandoned]
        session.execute(sa.update(Import).values(finished_at=utc_now(-31 * day)))
        assert imports.tidy(session) == [import_id]
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


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "Not A Name"}, "name"),
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


def test_an_image_of_a_version_is_kept_by_the_browser(client: FlaskClient) -> None:
    version = BUNDLED["mnist"].content.version
    path = f"{DATASETS}/mnist/train/5.png"
    assert (
        "immutable" in client.get(path, query_string={"version": version}).headers["Cache-Control"]
    )
    assert "immutable" not in client.get(path).headers["Cache-Control"]


# --- on a worker --------------------------------------------------------------------------------


@pytest.fixture
def yard(service_settings: Settings, database: Database, tmp_path: Path) -> Yard:
    return make_yard(service_settings, database, tmp_path)


@pytest.fixture
def web(yard: Yard) -> Iterator[FlaskClient]:
    with serving(yard.settings, yard.database) as client:
        yield client


@pytest.mark.usefixtures("no_process_left")
def test_a_table_is_imported_looked_at_and_trained_on_beside_a_running_job(
    yard: Yard, web: FlaskClient
) -> None:
    job_id = yard.submit(epochs=2)  # holds the only slot until its gate opens
    with yard.worker(), yard.scheduler():
        yard.wait_training(job_id)
        data = digits(40)
        import_id = start(web, {"train.csv": table(data), "test.csv": table(digits(12))})
        row = wait_over(yard, import_id)
        assert row.worker == "w1"
        assert yard.job(job_id).attempt == 1
        detail = json_of(web.get(f"{DATASETS}/flowers"))
        dataset_schemas.DatasetDetail.model_validate(detail)
        assert (detail["train_images"], detail["test_images"]) == (40, 12)
        assert web.get("/datasets/flowers").status_code == 200
        assert stored(yard.settings) == [
            f"datasets/{detail['version']}/{name}"
            for name in (
                "dataset.json",
                "means.npy",
                "order_test.npy",
                "order_train.npy",
                "x_test.npy",
                "x_train.npy",
                "y_test.npy",
                "y_train.npy",
            )
        ]
        assert not list((yard.settings.data_dir / "work" / "w1").glob("import-*"))
        yard.open_gate(1, 2)
        own = yard.submit(epochs=1, dataset={"name": "flowers"}, batch_size=8)
        spec = yard.job(own).spec
        assert spec["dataset"] == {"name": "flowers", "version": detail["version"]}
        wait_until(lambda: yard.job(own).status.terminal, what="the job on it is over")


@pytest.mark.usefixtures("no_process_left")
def test_a_bad_file_is_reported_cell_by_cell_and_leaves_nothing(
    yard: Yard, web: FlaskClient
) -> None:
    def spoil(rows: list[list[Any]]) -> None:
        rows[16][3] = "dark"

    with yard.worker():
        import_id = start(web, {"bad.csv": table(digits(30), change=spoil)})
        failed = wait_over(yard, import_id, TicketStatus.FAILED)
        answer = web.get(f"/api/v1/imports/{import_id}")
        dataset_schemas.Import.model_validate_json(answer.data)
        assert json_of(answer)["failure"]["faults"] == [
            {
                "file": "bad.csv",
                "row": 17,
                "column": "4",
                "value": "dark",
                "rule": "A pixel must be a whole number from 0 to 255.",
            }
        ]
        assert failed.failure is not None
        assert failed.failure["kind"] == "data"
        wait_until(lambda: stored(yard.settings) == [], what="its files are gone")
        assert not list((yard.settings.data_dir / "work" / "w1").glob("import-*"))
        with yard.database.read() as session, pytest.raises(NotFound):
            catalogue.find(session, "flowers")


@pytest.mark.usefixtures("no_process_left")
def test_a_killed_worker_s_import_is_finished_by_another(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker("w1") as worker:
        reader = reader_of(worker)
        worker.kill()
        worker.wait()
        reader.resume()  # and finds that nobody waits for it
    with yard.worker("w2"):
        assert wait_over(yard, import_id).worker == "w2"
    assert count(yard.database, DatasetVersion) == 2


@pytest.mark.usefixtures("no_process_left")
def test_a_worker_that_stops_hands_its_import_on(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker("w1") as worker:
        reader_of(worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert look(yard.database, import_id).status is TicketStatus.QUEUED
    with yard.worker("w2"):
        assert wait_over(yard, import_id).worker == "w2"


@pytest.mark.usefixtures("no_process_left")
def test_an_import_that_nobody_wants_any_more_stops(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker() as worker:
        reader = reader_of(worker)
        assert web.delete(f"/api/v1/imports/{import_id}").status_code == 204
        wait_until(lambda: not reader.is_running(), what="its reader is ended")
        other = start(web, {"b.csv": table(digits(24))}, "others")
        wait_over(yard, other)
    assert not any("uploads" in name for name in stored(yard.settings))


@pytest.mark.usefixtures("no_process_left")
def test_a_reader_that_dies_is_an_answer(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker() as worker:
        reader_of(worker).kill()
        failed = wait_over(yard, import_id, TicketStatus.FAILED)
        assert failed.failure is not None
        assert failed.failure["kind"] == "out_of_memory"
        assert "killed by signal 9" in failed.failure["evidence"]


@pytest.mark.usefixtures("no_process_left")
def test_a_reader_that_takes_too_long_is_ended(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker(TRAINYARD_IMPORT_SECONDS="2") as worker:
        reader_of(worker)
        failed = wait_over(yard, import_id, TicketStatus.FAILED)
        assert failed.failure is not None
        assert "took longer than the 2 s" in failed.failure["evidence"]


@pytest.mark.usefixtures("no_process_left")
def test_a_worker_may_leave_imports_to_others(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker("w1", TRAINYARD_IMPORTS="false"), yard.worker("w2"):
        assert wait_over(yard, import_id).worker == "w2"


@pytest.mark.usefixtures("no_process_left")
def test_a_worker_with_another_store_says_so(yard: Yard, web: FlaskClient, tmp_path: Path) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker(TRAINYARD_ARTIFACTS_URL=f"file://{tmp_path / 'elsewhere'}"):
        failed = wait_over(yard, import_id, TicketStatus.FAILED)
        assert failed.failure is not None
        assert "the same TRAINYARD_ARTIFACTS_URL?" in failed.failure["evidence"]


@pytest.mark.usefixtures("no_process_left")
def test_workers_show_what_they_import(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})

    def shown() -> Any:
        with yard.database.read() as session:
            row = session.get(Worker, "w1")
            return row and row.info.get("import_id")

    with yard.worker() as worker:
        reader = reader_of(worker)
        wait_until(lambda: shown() == import_id, what="the worker shows its import")
        reader.resume()
        wait_over(yard, import_id)
        wait_until(lambda: shown() is None, what="the worker shows no import")


# --- public sets --------------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def fashion_files() -> dict[str, bytes]:
    """Return files of Fashion-MNIST's names and form, with other images."""
    files = {}
    for name, data in (("train", digits(60, classes=10)), ("t10k", digits(20, classes=10))):
        files[f"{name}-images-idx3-ubyte.gz"] = zipped(idx(data["x"][..., 0]))
        files[f"{name}-labels-idx1-ubyte.gz"] = zipped(idx(data["y"]))
    return files


@pytest.mark.usefixtures("no_process_left")
def test_a_public_set_is_fetched_from_a_mirror_and_checked(
    yard: Yard, web: FlaskClient, tmp_path: Path
) -> None:
    files = fashion_files()
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert {file.name for file in known.KNOWN["fashion_mnist"].files} == set(files)
    with mirror(folder) as url, yard.worker(TRAINYARD_KNOWN_SETS_URL=url):
        # The images are not the published ones, so their checksum is not either.
        import_id = start(web, {}, "fashion_mnist", known="fashion_mnist")
        failed = wait_over(yard, import_id, TicketStatus.FAILED)
        assert failed.failure is not None
        md5 = hashlib.md5(files["train-images-idx3-ubyte.gz"], usedforsecurity=False).hexdigest()
        assert f"Received: {md5}." in failed.failure["evidence"]
        # Sent by a person they are an edition of their own, with the set's names.
        import_id = start(web, files, "fashion_mnist", known="fashion_mnist")
        wait_over(yard, import_id)
        detail = json_of(web.get(f"{DATASETS}/fashion_mnist"))
        assert detail["classes"][0] == "T-shirt/top"
        assert detail["title"] == "Fashion-MNIST"


@pytest.mark.usefixtures("no_process_left")
def test_a_public_set_that_cannot_or_may_not_be_fetched_is_told(
    yard: Yard, web: FlaskClient, tmp_path: Path
) -> None:
    with mirror(tmp_path) as url, yard.worker(TRAINYARD_KNOWN_SETS_URL=url):
        failed = wait_over(yard, start(web, {}, "kmnist", known="kmnist"), TicketStatus.FAILED)
        assert failed.failure is not None
        assert "404" in failed.failure["evidence"]
        assert "TRAINYARD_KNOWN_SETS_URL" in failed.failure["evidence"]
    with yard.worker(TRAINYARD_DOWNLOADS="false"):
        failed = wait_over(yard, start(web, {}, "kmnist", known="kmnist"), TicketStatus.FAILED)
        assert failed.failure is not None
        assert "may not fetch data sets" in failed.failure["evidence"]


def test_what_is_published_holds_what_its_row_says(yard: Yard, web: FlaskClient) -> None:
    from shared.datasets.cache import DatasetCache
    from shared.datasets.layout import verify

    data = digits(40, channels=3)
    with yard.worker():
        wait_over(yard, start(web, {"a.npz": npz(x=data["x"], y=data["y"])}))
    with yard.database.read() as session:
        _, version = catalogue.find(session, "flowers")
    description = Description(
        version=version.version,
        train_images=version.train_images,
        test_images=version.test_images,
        height=version.height,
        width=version.width,
        channels=version.channels,
        classes=tuple(version.classes),
    )
    cache = DatasetCache(yard.folder / "elsewhere", yard.store, most_bytes=1 << 30)
    verify(cache.fetch(version.uri, description), description)
