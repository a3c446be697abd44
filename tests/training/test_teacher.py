import errno
import os
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress
from sentence_transformers import SentenceTransformer

from training.config import TeacherConfig, TransformerModel
from training.encoder import build_transformer
from training.errors import RunError
from training.teacher import VectorCache, load_teacher, reduce_dim, teacher_vectors

pytestmark = pytest.mark.training

TEXTS = ["bakoti", "ruru mesol", "vendada", "bakoti"]


@pytest.fixture(scope="module")
def teacher_directory(tmp_path_factory, backbone):
    target = tmp_path_factory.mktemp("teacher")
    model = TransformerModel(kind="transformer", base=str(backbone))
    build_transformer(model).save_pretrained(str(target), create_model_card=False)
    return target


def vectors_of(teacher_directory: Any, cache: Any, texts: Any = TEXTS) -> Any:
    config = TeacherConfig(model=str(teacher_directory))
    return teacher_vectors(texts, config, cache, Progress(disable=True))


def test_vectors_are_those_of_the_teacher_up_to_half_precision(teacher_directory, tmp_path):
    found, _ = vectors_of(teacher_directory, tmp_path)
    expected = SentenceTransformer(str(teacher_directory)).encode(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_text_is_embedded_once_and_read_from_the_disk_afterwards(
    teacher_directory, tmp_path, monkeypatch
):
    first, name = vectors_of(teacher_directory, tmp_path)
    embedded = []

    def embed(teacher: Any, texts: list[str], batch_size: int) -> Any:
        embedded.extend(texts)
        return np.ones((len(texts), 16), np.float32)

    monkeypatch.setattr("training.teacher._embed", embed)
    again, same_name = vectors_of(teacher_directory, tmp_path, [*TEXTS, "new"])
    assert embedded == ["new"]
    assert name == same_name
    np.testing.assert_array_equal(first, again[:4])


def test_another_reading_length_is_another_teacher(teacher_directory):
    names = {
        load_teacher(TeacherConfig(model=str(teacher_directory), max_length=n))[1]
        for n in (16, 16, 32)
    }
    assert len(names) == 2


def test_a_shard_that_was_cut_off_is_not_read(tmp_path):
    cache = VectorCache(tmp_path)
    cache.add(["a"], np.ones((1, 2), np.float32))
    (tmp_path / ".draft.123").write_bytes(b"half")
    assert "a" in VectorCache(tmp_path)
    assert "b" not in VectorCache(tmp_path)


def test_a_shard_that_is_damaged_is_removed_and_its_texts_are_embedded_again(tmp_path):
    cache = VectorCache(tmp_path)
    for text in "ab":
        cache.add([text], np.ones((1, 2), np.float32))
    first, second = sorted(tmp_path.glob("*.npz"))
    os.truncate(first, first.stat().st_size // 2)
    left = VectorCache(tmp_path)
    assert sorted(text in left for text in "ab") == [False, True]
    assert list(tmp_path.glob("*.npz")) == [second]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(RunError, match=r"teacher's vectors could not be written.*No space left"):
        VectorCache(tmp_path).add(["a"], np.ones((1, 2), np.float32))


def test_vectors_do_not_depend_on_the_order_of_the_texts(teacher_directory, tmp_path):
    texts = [f"bakoti {'ru' * k}" for k in range(9)] + ["mesol a", "mesol b", "mesol c"]
    forward, _ = vectors_of(teacher_directory, tmp_path / "one", texts)
    backward, _ = vectors_of(teacher_directory, tmp_path / "two", texts[::-1])
    np.testing.assert_array_equal(forward, backward[::-1])


def test_progress_is_counted_in_texts(teacher_directory, tmp_path):
    progress = Progress(disable=True)
    config = TeacherConfig(model=str(teacher_directory), batch_size=2)
    teacher_vectors(TEXTS, config, tmp_path, progress)
    (task,) = progress.tasks
    assert (task.completed, task.total) == (3, 3)


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(RunError, match="'no_such_teacher' is not installed"):
        load_teacher(TeacherConfig(package="no_such_teacher"))


def test_a_package_is_asked_for_its_model(teacher_directory, tmp_path, monkeypatch):
    (tmp_path / "tiny_teacher.py").write_text(
        f"def get_model_path():\n    return {str(teacher_directory)!r}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    _, name = load_teacher(TeacherConfig(package="tiny_teacher"))
    assert name.startswith("tiny_teacher-")


def test_fewer_dimensions_keep_the_cosines_of_vectors_that_lie_in_them():
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(12, 3)))[0]
    vectors = rng.normal(size=(50, 3)) @ plane.T
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    reduced = reduce_dim(vectors, 3)
    assert reduced.shape == (50, 3)
    np.testing.assert_allclose(reduced @ reduced.T, vectors @ vectors.T, atol=1e-5)


def test_a_teacher_with_too_few_dimensions_is_refused():
    with pytest.raises(RunError, match="has 8 dimensions, but the teacher only 4"):
        reduce_dim(np.eye(4, dtype=np.float32), 8)
