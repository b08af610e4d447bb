"""Imports on a real worker: read, refused, handed on, stopped; and public sets from a mirror."""

from __future__ import annotations

import contextlib
import hashlib
import html
import http.server
import re
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from shared import catalogue, imports
from shared.artifacts import ArtifactStore
from shared.database import Database
from shared.datasets import known
from shared.errors import NotFound
from shared.models import TicketStatus, Worker
from shared.settings import Settings
from tests.history import check_history
from tests.importing import DATASETS, begun, look, reader_of, send, start, stored, wait_over
from tests.sent_files import digits, idx, npz, table, zipped
from tests.waiting import wait_until
from tests.web_client import json_of, serving
from tests.worker_yard import Yard, make_yard
from web.api import dataset_schemas
from worker.inputs import description_of

VERSION_FILES = 8


@pytest.fixture
def yard(service_settings: Settings, database: Database, tmp_path: Path) -> Yard:
    return make_yard(service_settings, database, tmp_path)


@pytest.fixture
def web(yard: Yard) -> Iterator[FlaskClient]:
    with serving(yard.settings, yard.database) as client:
        yield client


def place_of(yard: Yard, version: str) -> str:
    with yard.database.read() as session:
        place = catalogue.place_of(session, version)
    assert place is not None
    assert place.startswith(f"datasets/{version}-")
    return place


@pytest.mark.usefixtures("no_process_left")
def test_a_table_is_imported_looked_at_and_trained_on_beside_a_running_job(
    yard: Yard, web: FlaskClient
) -> None:
    job_id = yard.submit(epochs=2)  # holds the only slot until its gate opens
    with yard.worker():
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
        files = [
            f"{place_of(yard, detail['version'])}/{name}"
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
        wait_until(lambda: stored(yard.settings) == files, what="only the version is there")
        assert not list((yard.settings.data_dir / "work" / "w1").glob("import-*"))
        yard.open_gate(1, 2)
        own = yard.submit(epochs=1, dataset={"name": "flowers"}, batch_size=8)
        spec = yard.job(own).spec
        assert spec["dataset"] == {"name": "flowers", "version": detail["version"]}
        wait_until(lambda: yard.job(own).status.terminal, what="the job on it is over")


@pytest.mark.usefixtures("no_process_left")
def test_large_images_are_fetched_one_by_one(yard: Yard, web: FlaskClient) -> None:
    with yard.worker():
        wait_over(yard, start(web, {"a.npz": npz(**digits(30, side=70, channels=3))}))
    page = web.get("/datasets/flowers").text
    sources = [html.unescape(found) for found in re.findall(r'<img src="([^"]+)"', page)]
    assert sum("/means/" in source for source in sources) == 3
    assert sum("/train/" in source for source in sources) == 24
    for source in sources:
        answer = web.get(source)
        assert answer.mimetype == "image/png"
        assert "immutable" in answer.headers["Cache-Control"]


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
def test_files_that_a_dead_worker_left_behind_go(yard: Yard, web: FlaskClient) -> None:
    given_up = start(web, {"a.csv": table(digits(30))})
    with yard.database.write() as session:
        for _ in range(imports.MAX_TRIES):
            assert imports.claim(session, "dead", lease_seconds=-1) is not None
    waiting = begun(web, "blooms")
    assert send(web, waiting, "b.csv", table(digits(30))).status_code == 200
    with yard.worker():
        failed = wait_over(yard, given_up, TicketStatus.FAILED)
        assert failed.failure is not None
        assert failed.failure["kind"] == "lost"
        number = waiting.rpartition("/")[2]
        wait_until(
            lambda: [path.split("/")[1] for path in stored(yard.settings)] == [number],
            what="only the files that are still to be imported are there",
        )


@pytest.mark.usefixtures("no_process_left")
def test_imports_do_without_the_store_s_list(yard: Yard, web: FlaskClient) -> None:
    lost = start(web, {"a.csv": table(digits(30))})
    with yard.database.write() as session:
        for _ in range(imports.MAX_TRIES):
            assert imports.claim(session, "dead", lease_seconds=-1) is not None
    with yard.worker(fault="unlisted_store"):
        wait_over(yard, lost, TicketStatus.FAILED)
        wait_over(yard, start(web, {"b.csv": table(digits(24))}))
        yard.wait_log("w1", "stay for now: The artifact store cannot be used: it lists nothing")
    assert "Traceback" not in yard.log("w1").read_text()


@pytest.mark.usefixtures("no_process_left")
def test_a_killed_worker_s_import_is_finished_by_another(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker("w1", fault="held_reader") as worker:
        reader = reader_of(worker)
        worker.kill()
        worker.wait()
        reader.resume()  # and finds that nobody waits for it
    with yard.worker("w2"):
        assert wait_over(yard, import_id).worker == "w2"
    with yard.database.read() as session:
        assert len(catalogue.newest(session)) == 2
    check_history(yard.database, yard.store)


@pytest.mark.usefixtures("no_process_left")
def test_a_worker_that_stops_hands_its_import_on(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker("w1", fault="held_reader") as worker:
        yard.wait_log("w1", "Worker w1 is ready")  # and hears signals
        reader_of(worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert look(yard.database, import_id).status is TicketStatus.QUEUED
    with yard.worker("w2"):
        assert wait_over(yard, import_id).worker == "w2"


@pytest.mark.usefixtures("no_process_left")
def test_an_import_that_nobody_wants_any_more_stops(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker(fault="held_reader") as worker:
        reader = reader_of(worker)
        assert web.delete(f"/api/v1/imports/{import_id}").status_code == 204
        wait_until(lambda: not reader.is_running(), what="its reader is ended")
        other = start(web, {"b.csv": table(digits(24))}, "others")
        wait_over(yard, other)
    assert not any("uploads" in name for name in stored(yard.settings))


@pytest.mark.usefixtures("no_process_left")
def test_a_reader_that_dies_is_an_answer(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker(fault="held_reader") as worker:
        reader_of(worker).kill()
        failed = wait_over(yard, import_id, TicketStatus.FAILED)
        assert failed.failure is not None
        assert failed.failure["kind"] == "out_of_memory"
        assert "killed by signal 9" in failed.failure["evidence"]


@pytest.mark.usefixtures("no_process_left")
def test_a_reader_of_files_knows_no_credentials(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    secrets = {"AWS_SECRET_ACCESS_KEY": "secret", "LC_TIME": "C"}
    with yard.worker(fault="held_reader", **secrets) as worker:
        reader = reader_of(worker)
        given = reader.environ()
        reader.resume()
        wait_over(yard, import_id)
    assert {"PATH", "LC_TIME", "OPENBLAS_NUM_THREADS"} <= set(given)
    assert not [name for name in given if name.startswith(("AWS", "TRAINYARD"))]


@pytest.mark.usefixtures("no_process_left")
def test_a_reader_that_takes_too_long_is_ended(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker(fault="held_reader", TRAINYARD_IMPORT_SECONDS="2") as worker:
        reader_of(worker)
        failed = wait_over(yard, import_id, TicketStatus.FAILED)
        assert failed.failure is not None
        assert "took longer than the 2 s" in failed.failure["evidence"]


@pytest.mark.usefixtures("no_process_left")
def test_a_worker_may_leave_imports_to_others(yard: Yard, web: FlaskClient) -> None:
    import_id = start(web, {"a.csv": table(digits(30))})
    with yard.worker("w1", TRAINYARD_IMPORTS="false"), yard.worker("w2"):
        assert wait_over(yard, import_id).worker == "w2"
        with yard.database.read() as session:
            says = {row.name: row.info["imports"] for row in session.scalars(sa.select(Worker))}
        assert says == {"w1": False, "w2": True}


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

    with yard.worker(fault="held_reader") as worker:
        reader = reader_of(worker)
        wait_until(lambda: shown() == import_id, what="the worker shows its import")
        reader.resume()
        wait_over(yard, import_id)
        wait_until(lambda: shown() is None, what="the worker shows no import")


# --- the same content again ---------------------------------------------------------------------


@pytest.mark.usefixtures("no_process_left")
def test_content_that_comes_again_while_it_is_deleted_stays(
    yard: Yard, web: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = npz(**digits(30))
    really = ArtifactStore.delete

    def delete_late(store: ArtifactStore, path: str) -> None:
        if path.startswith("datasets/"):
            wait_over(yard, start(web, {"a.npz": content}, "blooms"))
        really(store, path)

    with yard.worker():
        wait_over(yard, start(web, {"a.npz": content}))
        monkeypatch.setattr(ArtifactStore, "delete", delete_late)
        assert web.delete(f"{DATASETS}/flowers").status_code == 204
    assert len(stored(yard.settings)) == VERSION_FILES
    check_history(yard.database, yard.store)


@pytest.mark.usefixtures("no_process_left")
def test_content_whose_place_goes_before_it_is_published_gets_another(
    yard: Yard, web: FlaskClient
) -> None:
    content, switch = npz(**digits(30)), yard.folder / "wait"
    with yard.worker(fault=f"wait_to_publish:{switch}"):
        wait_over(yard, start(web, {"a.npz": content}))
        switch.touch()
        import_id = start(web, {"a.npz": content}, "blooms")
        yard.wait_log("w1", "waits to publish")
        assert web.delete(f"{DATASETS}/flowers").status_code == 204
        switch.unlink()
        wait_over(yard, import_id)
    assert len(stored(yard.settings)) == VERSION_FILES
    check_history(yard.database, yard.store)


@pytest.mark.usefixtures("no_process_left")
def test_content_that_two_workers_import_at_once_is_kept_once(yard: Yard, web: FlaskClient) -> None:
    content, switch = npz(**digits(30)), yard.folder / "wait"
    switch.touch()
    with yard.worker("w1", fault=f"wait_to_publish:{switch}", TRAINYARD_LEASE_SECONDS="60"):
        first = start(web, {"a.npz": content})
        yard.wait_log("w1", "waits to publish")
        with yard.worker("w2"):
            wait_over(yard, start(web, {"a.npz": content}))
        switch.unlink()
        wait_over(yard, first)
        wait_until(lambda: len(stored(yard.settings)) == VERSION_FILES, what="one is kept")
    check_history(yard.database, yard.store)


@pytest.mark.usefixtures("no_process_left")
def test_a_store_that_falls_silent_when_all_is_published_is_no_failure(
    yard: Yard, web: FlaskClient
) -> None:
    with yard.worker(fault="silent_once_published"):
        import_id = start(web, {"a.npz": npz(**digits(30))})
        yard.wait_log("w1", f"Import {import_id}: uploads/{import_id} stays for now")
        wait_over(yard, import_id)
    log = yard.log("w1").read_text()
    assert "cannot be carried out" not in log
    assert "Traceback" not in log


@pytest.mark.usefixtures("no_process_left")
def test_a_stored_file_that_is_cut_off_is_mended_by_importing_again(
    yard: Yard, web: FlaskClient
) -> None:
    with yard.worker():
        wait_over(yard, start(web, {"a.npz": npz(**digits(30))}))
        with yard.database.read() as session:
            _, version = catalogue.find(session, "flowers")
        file = yard.settings.data_dir / "artifacts" / version.uri / "x_train.npy"
        whole = file.read_bytes()
        file.write_bytes(whole[:-64])
        wait_over(yard, start(web, {"a.npz": npz(**digits(30))}))
    assert file.read_bytes() == whole


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
    (folder / "fashion_mnist").mkdir(parents=True)
    for name, content in files.items():
        (folder / "fashion_mnist" / name).write_bytes(content)
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
        assert failed.failure["kind"] == "fetch"
        assert "127.0.0.1 answered 404 File not found" in failed.failure["evidence"]
        assert "datasets add kmnist FILES --known kmnist" in failed.failure["suggestion"]
        assert "TRAINYARD_KNOWN_SETS_URL" in failed.failure["suggestion"]
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
    description = description_of(version)
    cache = DatasetCache(yard.folder / "elsewhere", yard.store, most_bytes=1 << 30)
    verify(cache.fetch(version.uri, description), description)
