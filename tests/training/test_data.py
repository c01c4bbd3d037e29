import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from digit_files import REPOSITORY, SHARED_DATA, draw, drawn_dataset, idx_bytes, write_idx
from PIL import Image

from training.data import DataError, Dataset, Digits, load, split

MNIST = SHARED_DATA / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason=f"{MNIST} is not there")


def same(one: Dataset, other: Dataset) -> bool:
    return one.digest == other.digest


def write_pngs(folder: Path, digits: Digits) -> Path:
    folder.mkdir(parents=True)
    for index, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        Image.fromarray(image).save(folder / f"{label}_{index:06}.png")
    return folder


def write_strip(path: Path, digits: Digits, labels: object = None) -> Path:
    Image.fromarray(digits.images.reshape(-1, 784)).save(path)
    path.with_name("labels.txt").write_text(json.dumps(digits.labels.tolist() if labels is None else labels))
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_idx_files_are_read_packed_or_not_in_both_spellings(tmp_path, suffix, separator):
    dataset = drawn_dataset(30, 20)
    write_idx(tmp_path, dataset, suffix=suffix, separator=separator)
    assert same(load(tmp_path), dataset)


def test_a_folder_of_pngs_takes_the_label_from_the_file_name(tmp_path):
    training, test = draw(30), draw(10, seed=1)
    write_pngs(tmp_path / "train", training)
    write_pngs(tmp_path / "test", test)
    loaded = load(tmp_path)
    assert np.bincount(loaded.training.labels).tolist() == [3] * 10
    assert loaded.test.images[loaded.test.labels == 4].tolist() == test.images[test.labels == 4].tolist()


def test_a_label_may_be_followed_by_any_name(tmp_path):
    for part in ("train", "test"):
        write_pngs(tmp_path / part, draw(10))
    (tmp_path / "train" / "3_000003.png").rename(tmp_path / "train" / "30017.PNG")
    assert load(tmp_path).training.labels.tolist() == list(range(10))


@pytest.mark.parametrize("given", ["strip.png", "."])
def test_a_strip_picture_is_read_row_by_row_and_its_end_is_the_test_set(tmp_path, given):
    digits = draw(90)
    write_strip(tmp_path / "strip.png", digits)
    loaded = load(tmp_path / given)
    assert (len(loaded.training), len(loaded.test)) == (87, 3)
    assert loaded.training.images.tolist() == digits.images[:87].tolist()
    assert loaded.test.labels.tolist() == [7, 8, 9]


def test_a_strip_may_have_its_labels_in_a_json_of_its_own_name(tmp_path):
    write_strip(tmp_path / "page.png", draw(30))
    (tmp_path / "labels.txt").rename(tmp_path / "page.json")
    assert len(load(tmp_path / "page.png").training) == 29


@needs_mnist
def test_mnist_is_read_as_published():
    mnist = load(MNIST)
    assert mnist.training.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert round(float(mnist.training.images.mean()), 3) == 33.318


@needs_mnist
def test_the_strip_and_the_sample_of_pngs_hold_mnists_digits():
    mnist = load(MNIST)
    strip = load(SHARED_DATA / "mnist_strip")
    assert strip.training.images.tobytes() == mnist.training.images[:2900].tobytes()
    sample = load(SHARED_DATA / "mnist_png_sample")
    assert np.bincount(sample.test.labels).tolist() == [10] * 10


def test_a_limit_takes_the_first_images():
    limited = drawn_dataset(50, 20).limit(30)
    assert (len(limited.training), len(limited.test)) == (30, 20)
    assert limited.training.labels.tolist() == list(range(10)) * 3


def test_a_split_uses_every_image_once_and_depends_on_the_seed_alone():
    digits = Digits(draw(240).images, (np.arange(240) % 10).astype(np.uint8))
    parts = [split(digits, 1 / 24, 1 / 12, seed) for seed in (1, 1, 2)]
    assert [len(part) for part in (parts[0].training, parts[0].validation, parts[0].calibration)] == [210, 10, 20]
    everything = np.concatenate([part.images for part in vars(parts[0]).values()])
    assert sorted(image.tobytes() for image in everything) == sorted(image.tobytes() for image in digits.images)
    assert parts[0].training.images.tolist() == parts[1].training.images.tolist()
    assert parts[0].training.images.tolist() != parts[2].training.images.tolist()


def test_too_few_images_cannot_be_split():
    with pytest.raises(DataError, match="10 training images are too few"):
        split(draw(10), 0.1, 0.1, seed=0)


def missing(folder: Path) -> Path:
    return folder / "nowhere"


def empty(folder: Path) -> Path:
    return folder


def unequal_counts(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(draw(29).labels))
    return folder


def one_file_missing(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20))
    (folder / "t10k-labels-idx1-ubyte").unlink()
    return folder


def cut_off(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20))
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    return folder


def cut_off_gzip(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20), suffix=".gz")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    return folder


def damaged_gzip(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20), suffix=".gz")
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return folder


def not_idx(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20))
    (folder / "train-images-idx3-ubyte").write_text("<html>404</html>")
    return folder


def images_for_labels(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20))
    shutil.copy(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte")
    return folder


def other_size(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20))
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((30, 32, 32), np.uint8)))
    return folder


def label_above_nine(folder: Path) -> Path:
    dataset = drawn_dataset(30, 20)
    labels = dataset.training.labels.copy()
    labels[17] = 10
    return write_idx(folder, Dataset("", Digits(dataset.training.images, labels), dataset.test))


def no_images(folder: Path) -> Path:
    return write_idx(folder, drawn_dataset(30, 0))


def wrong_checksum(folder: Path) -> Path:
    write_idx(folder, drawn_dataset(30, 20))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(10_000, np.uint8)))
    return folder


def wrong_checksum_packed(folder: Path) -> Path:
    wrong_checksum(folder)
    path = folder / "t10k-labels-idx1-ubyte"
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder


def png_without_label(folder: Path) -> Path:
    for part in ("train", "test"):
        write_pngs(folder / part, draw(10))
    (folder / "train" / "3_000003.png").rename(folder / "train" / "three.png")
    return folder


def png_with_two_digits(folder: Path) -> Path:
    for part in ("train", "test"):
        write_pngs(folder / part, draw(10))
    (folder / "train" / "3_000003.png").rename(folder / "train" / "13_000003.png")
    return folder


def png_of_other_size(folder: Path) -> Path:
    for part in ("train", "test"):
        write_pngs(folder / part, draw(10))
    Image.new("L", (20, 28)).save(folder / "test" / "3_000003.png")
    return folder


def png_that_is_none(folder: Path) -> Path:
    for part in ("train", "test"):
        write_pngs(folder / part, draw(10))
    (folder / "test" / "3_000003.png").write_text("no picture")
    return folder


def png_cut_off(folder: Path) -> Path:
    for part in ("train", "test"):
        write_pngs(folder / part, draw(10))
    path = folder / "test" / "3_000003.png"
    path.write_bytes(path.read_bytes()[:70])
    return folder


def no_test_pngs(folder: Path) -> Path:
    write_pngs(folder / "train", draw(10))
    return folder


def strip_without_labels(folder: Path) -> Path:
    write_strip(folder / "strip.png", draw(30))
    (folder / "labels.txt").unlink()
    return folder


def strip_of_other_width(folder: Path) -> Path:
    write_strip(folder / "strip.png", draw(30))
    Image.new("L", (780, 30)).save(folder / "strip.png")
    return folder


def strip_with_fewer_labels(folder: Path) -> Path:
    return write_strip(folder / "strip.png", draw(30), labels=[1] * 29)


def strip_with_label_above_nine(folder: Path) -> Path:
    return write_strip(folder / "strip.png", draw(30), labels=[1] * 29 + [10])


def strip_with_label_in_words(folder: Path) -> Path:
    return write_strip(folder / "strip.png", draw(30), labels=["three"] * 30)


def strip_with_broken_json(folder: Path) -> Path:
    write_strip(folder / "strip.png", draw(30))
    (folder / "labels.txt").write_text("[1, 2")
    return folder


FAULTS = [
    (missing, "does not exist"),
    (empty, "holds no digits: expected"),
    (unequal_counts, "has 30 images but 29 labels"),
    (one_file_missing, "has no t10k-labels-idx1-ubyte, with or without .gz"),
    (cut_off, "its header promises 15696"),
    (cut_off_gzip, "train-images-idx3-ubyte.gz is damaged, download it again"),
    (damaged_gzip, "train-images-idx3-ubyte.gz is damaged, download it again"),
    (not_idx, "is not an IDX file of images"),
    (images_for_labels, "is not an IDX file of labels"),
    (other_size, "has images of 32 x 32 pixels, expected 28 x 28"),
    (label_above_nine, "has the label 10 (image 17): labels are 0 to 9"),
    (no_images, "has an empty training or test set"),
    (wrong_checksum, "t10k-labels-idx1-ubyte has a wrong checksum"),
    (wrong_checksum_packed, "t10k-labels-idx1-ubyte.gz has a wrong checksum"),
    (png_without_label, "three.png in"),
    (png_with_two_digits, "13_000003.png in"),
    (png_of_other_size, "3_000003.png has 20 x 28 pixels, expected 28 x 28"),
    (png_that_is_none, "3_000003.png is not a picture that can be read"),
    (png_cut_off, "3_000003.png is not a picture that can be read"),
    (no_test_pngs, "test has no PNG files"),
    (strip_without_labels, "has no labels beside it"),
    (strip_of_other_width, "is 780 pixels wide"),
    (strip_with_fewer_labels, "has 30 images but 29 labels"),
    (strip_with_label_above_nine, "has the label 10 (image 29)"),
    (strip_with_label_in_words, 'has the label "three" (image 0)'),
    (strip_with_broken_json, "is not a JSON list of labels"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_what_is_wrong_with_the_data_is_said_in_one_line(tmp_path, fault, words):
    with pytest.raises(DataError) as caught:
        load(fault(tmp_path))
    text = str(caught.value)
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize("fault", [missing, unequal_counts, label_above_nine, wrong_checksum], ids=lambda f: f.__name__)
def test_the_command_ends_with_that_line_and_exit_code_2(tmp_path, fault):
    command = [sys.executable, "-m", "training.train", "--recipe", "dense", "--data", str(fault(tmp_path))]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_download_that_fails_says_how_to_use_data(tmp_path):
    command = [sys.executable, "-m", "training.train", "--recipe", "dense"]
    nowhere = "http://127.0.0.1:9"  # nothing listens on the discard port
    environment = {"HOME": str(tmp_path), "KERAS_HOME": str(tmp_path), "https_proxy": nowhere, "http_proxy": nowhere}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "MNIST cannot be downloaded" in done.stderr
    assert "--data PATH" in done.stderr
