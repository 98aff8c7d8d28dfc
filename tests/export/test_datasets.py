"""The loaders, on data made here; and their errors where data are missing or not as they should."""

import zipfile

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import tensorflow as tf

from onnxwalk.export import ExportError
from onnxwalk.export.study.datasets import (
    build_vectorizer,
    encode_texts,
    load_cifar10,
    load_nusax,
    read_images,
    read_texts,
)


def write_images(path, classes=("cat", "dog"), sides=(4, 4)):
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(classes):
            for i, side in enumerate(sides):
                pixels = np.full((side, side, 3), 100 * number + i, np.uint8)
                archive.writestr(f"{name}/{i}.jpg", tf.io.encode_jpeg(pixels).numpy())


def test_images(tmp_path):
    for name in ("train.zip", "test.zip"):
        write_images(tmp_path / name)
    train, test, classes = load_cifar10(tmp_path)
    assert classes == ["cat", "dog"] and train.x.shape == (4, 4, 4, 3)
    assert train.x.dtype == np.float32 and train.y.dtype == np.int64
    np.testing.assert_array_equal(train.y, train.x.mean((1, 2, 3)) > 50 / 255)
    np.testing.assert_array_equal(train.x, test.x)
    assert len(read_images(tmp_path / "train.zip", per_class=1)[0]) == 2


def test_image_errors(tmp_path):
    with pytest.raises(ExportError, match=r"no data at .*train\.zip"):
        load_cifar10(tmp_path)
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ExportError, match="can't be read: File is not a zip file"):
        read_images(tmp_path / "text.zip")
    write_images(tmp_path / "empty.zip", classes=())
    with pytest.raises(ExportError, match="contains no folders of"):
        read_images(tmp_path / "empty.zip")
    write_images(tmp_path / "sizes.zip", sides=(4, 5))
    with pytest.raises(ExportError, match="images of different sizes"):
        read_images(tmp_path / "sizes.zip")
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as archive:
        archive.writestr("cat/0.jpg", b"no image")
    with pytest.raises(ExportError, match=r"broken\.zip can't be read"):
        read_images(tmp_path / "broken.zip")


def test_texts(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.csv").write_text('id,text,label\n1,"a b, c",good\n2,d,bad\n')
    train, valid, test, classes, layer = load_nusax(tmp_path)
    assert classes == ["bad", "good"]
    assert train.x.shape == (2, 100) and train.x.dtype == np.int32
    assert [(row != 0).sum() for row in train.x] == [3, 1]
    np.testing.assert_array_equal(valid.x, test.x)
    np.testing.assert_array_equal(train.y, [1, 0])
    assert encode_texts(layer, ["never seen"])[0, :3].tolist() == [1, 1, 0]
    (tmp_path / "test.csv").write_text("text,label\nx,odd\n")
    with pytest.raises(ExportError, match=r"label 'odd' is not in train\.csv"):
        load_nusax(tmp_path)


def test_text_errors(tmp_path):
    file = tmp_path / "a.csv"
    with pytest.raises(ExportError, match="no data at"):
        read_texts(file)
    for content, message in (
        ("a,b\n1,2\n", "has no column label and no text"),
        ("text,b\n1,2\n", "has no column label"),
        ("text,label\n", "has no rows"),
    ):
        file.write_text(content)
        with pytest.raises(ExportError, match=message):
            read_texts(file)
    file.write_bytes(b"text,label\n\xff\xfe,x\n")
    with pytest.raises(ExportError, match="can't be read"):
        read_texts(file)


def test_vocabulary_size():
    layer = build_vectorizer([f"w{i}" for i in range(50)], words=20, length=5)
    assert encode_texts(layer, ["w1 w2 w3 w4 w5 w6"]).shape == (1, 5)
    assert len(layer.get_vocabulary()) == 20
