"""A silo's patients are preprocessed and split as FLamby does, and a malformed file is reported."""

from collections.abc import Iterator

import boto3
import numpy as np
import pytest
import torch
from moto.server import ThreadedMotoServer

from fedsilo.errors import HubError, WorkloadError
from workloads.heart_disease import data

HEADER = ",".join(data.COLUMNS)
PATIENT = "63,1,2,145,233,1,2,150,0,2.3,?,,6,0"

# The test rows that scikit-learn 1.9.1 gives for FLamby's call, of a hospital's complete rows in the file's order:
# train_test_split(arange(n), test_size=1 - 0.66, train_size=0.66, random_state=43, stratify=disease)
# fmt: off
TEST_ROWS = {
    "cleveland": [
        5, 13, 16, 24, 26, 34, 40, 42, 43, 46, 47, 48, 49, 53, 55, 56, 59, 60, 61, 63, 64, 65, 69, 72, 76,
        78, 86, 87, 88, 90, 91, 93, 95, 101, 103, 104, 105, 113, 116, 123, 128, 133, 134, 135, 136, 137,
        151, 152, 154, 156, 157, 160, 163, 165, 170, 171, 179, 180, 188, 190, 192, 197, 201, 202, 203, 211,
        213, 215, 216, 218, 221, 223, 224, 227, 228, 233, 236, 239, 243, 246, 249, 250, 256, 257, 258, 259,
        260, 264, 265, 266, 270, 283, 284, 285, 288, 289, 290, 292, 294, 295, 296, 297, 298, 301
    ],
    "hungary": [
        3, 7, 16, 21, 25, 26, 27, 28, 29, 32, 34, 35, 36, 41, 47, 48, 49, 51, 53, 58, 60, 61, 64, 68, 73,
        74, 75, 84, 85, 87, 89, 91, 95, 104, 107, 110, 111, 112, 117, 118, 120, 123, 127, 128, 131, 132,
        136, 137, 139, 143, 145, 149, 155, 158, 159, 161, 164, 169, 172, 179, 182, 186, 188, 189, 190, 191,
        193, 194, 196, 199, 202, 203, 204, 206, 213, 219, 223, 224, 234, 236, 239, 243, 248, 250, 251, 252,
        254, 258, 259
    ],
    "switzerland": [
        5, 6, 7, 8, 13, 14, 18, 19, 20, 22, 24, 28, 29, 32, 40, 41
    ],
    "long-beach": [
        1, 5, 6, 9, 12, 26, 29, 33, 35, 36, 38, 39, 41, 42, 45, 47, 54, 60, 61, 62, 64, 66, 67, 68, 73, 75,
        76, 78, 79, 85, 88, 92, 97, 98, 110, 111, 112, 114, 117, 118, 119, 121, 125, 127, 128
    ],
}
# fmt: on


@pytest.mark.parametrize(
    ("silo", "train", "test"),
    [
        ("cleveland", 199, 104),
        ("hungary", 172, 89),
        ("switzerland", 30, 16),
        ("long-beach", 85, 45),
    ],
)
def test_the_split_equals_flambys(silo: str, train: int, test: int) -> None:
    patients = data.parse(
        (data.importlib.resources.files(data.__package__) / "hospitals" / f"{silo}.csv").read_text(), silo
    )
    trained, tested = data.load(silo, "packaged")
    assert (len(trained.labels), len(tested.labels)) == (train, test)
    assert data.split(patients.labels.numpy())[1].tolist() == TEST_ROWS[silo]
    assert torch.equal(tested.features, patients.features[TEST_ROWS[silo]])
    assert torch.equal(tested.labels, patients.labels[TEST_ROWS[silo]])


@pytest.mark.parametrize("size", [2, 3, 6, 7, 50, 101])
@pytest.mark.parametrize("diseased", [0, 1, 2, 3, 25])
def test_a_split_holds_every_patient_and_keeps_the_proportion(size: int, diseased: int) -> None:
    labels = (np.arange(size) < diseased).astype(float)
    train, test = data.split(labels)
    assert sorted([*train, *test]) == list(range(size))
    assert len(train) == int(0.66 * size)
    if 3 <= diseased <= size - 3:
        assert abs(labels[train].sum() - 0.66 * diseased) < 1


def test_a_label_of_two_patients_is_not_stratified() -> None:
    plain = data.split(np.zeros(50))[1].tolist()
    assert data.split((np.arange(50) < 2).astype(float))[1].tolist() == plain
    assert data.split((np.arange(50) < 3).astype(float))[1].tolist() != plain


def test_the_features_equal_flambys() -> None:
    patients = data.parse(
        f"{HEADER}\n{PATIENT}\n63,1,4,145,?,1,2,150,0,2.3,1,1,6,1\n50,0,1,120,0,0,0,99,1,-.5,1,1,6,3\n", "x"
    )
    assert dict(zip(data.FEATURES, patients.features[0].tolist(), strict=True)) == pytest.approx(
        {
            "age": 63,
            "sex": 1,
            "trestbps": 145,
            "chol": 233,
            "fbs": 1,
            "thalach": 150,
            "exang": 0,
            "oldpeak": 2.3,
            "cp_2": 1,
            "cp_3": 0,
            "cp_4": 0,
            "restecg_1": 0,
            "restecg_2": 1,
        }
    )
    assert patients.features[1].tolist() == [50, 0, 120, 0, 0, 99, 1, -0.5, 0, 0, 0, 0, 0]
    assert patients.labels.tolist() == [0, 1]
    assert {tensor.dtype for tensor in patients} == {torch.float32}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "hospital: the first line must be age,sex,cp"),
        (f"{PATIENT}\n", "hospital: the first line must be age,sex,cp"),
        (f"{HEADER}\n", "hospital: 0 of 0 patients have no missing value; at least 2 must"),
        (f"{HEADER}\n{PATIENT}\n", "hospital: 1 of 1 patients"),
        (f"{HEADER}\n{PATIENT}\n63,1\n", "hospital: line 3: 2 values, not 14"),
        (f"{HEADER}\n{PATIENT.replace('145', 'high')}\n", "hospital: line 2, column trestbps: not a number"),
        (f"{HEADER}\n{PATIENT.replace('145', 'nan')}\n", "hospital: line 2, column trestbps: not a number"),
        (f"{HEADER}\n\n{PATIENT.replace('2,145', '5,145')}\n", "line 3, column cp: not one of 1, 2, 3, 4"),
        (f"{HEADER}\n{PATIENT[:-1]}7\n", "hospital: line 2, column num: not one of 0, 1, 2, 3, 4"),
        (f'{HEADER}\n{PATIENT}\n"63,1', "hospital: line 3: unexpected end of data"),
        (f"{HEADER}\n" + "x,1\n" * 30, "hospital: and 20 more"),
    ],
)
def test_a_malformed_value_is_reported_with_line_and_column(text: str, message: str) -> None:
    with pytest.raises(WorkloadError) as error:
        data.parse(text, "hospital")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{PATIENT}\n" + PATIENT.replace("145", "SECRET"),
        f"{HEADER}\n{PATIENT}\n" + PATIENT.replace("2,145", "SECRET,145"),
        PATIENT.replace("145", "SECRET"),
        f"{HEADER}\n{PATIENT},SECRET\n",
        f'{HEADER}\n{PATIENT}\n"SECRET"x,SECRET',
        f'{HEADER}\n{PATIENT}\n"SECRET',
    ],
    ids=["number", "code", "no header", "too many", "quotes", "end"],
)
def test_no_message_quotes_the_data(text: str) -> None:
    with pytest.raises(WorkloadError) as error:
        data.parse(text, "hospital")
    assert "SECRET" not in str(error.value)


def test_a_silo_without_packaged_data_is_told_what_to_do() -> None:
    with pytest.raises(WorkloadError, match="cleveland, hungary, long-beach, switzerland only; set `data: s3`"):
        data.load("oslo", "packaged")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="oslo-data")
    return "oslo-data"


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", "heart_disease.csv"),
        ("/", "heart_disease.csv"),
        ("/a/b", "a/b/heart_disease.csv"),
        ("/a/", "a/heart_disease.csv"),
    ],
)
def test_data_in_the_silos_bucket_equal_the_packaged_data(bucket: str, prefix: str, key: str) -> None:
    text = (data.importlib.resources.files(data.__package__) / "hospitals" / "cleveland.csv").read_bytes()
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    own, packaged = data.load("oslo", f"s3://{bucket}{prefix}"), data.load("cleveland", "packaged")
    for mine, theirs in zip(own, packaged, strict=True):
        assert torch.equal(mine.features, theirs.features)
        assert torch.equal(mine.labels, theirs.labels)


def test_a_missing_object_or_bucket_is_named(bucket: str) -> None:
    with pytest.raises(HubError, match=r"not found: silo oslo could not read s3://oslo-data/none/heart_disease.csv"):
        data.load("oslo", "s3://oslo-data/none")
    with pytest.raises(HubError, match=r"not found: silo oslo could not read s3://bergen-data/heart_disease.csv"):
        data.load("oslo", "s3://bergen-data")
    with pytest.raises(WorkloadError, match="neither `packaged` nor s3://bucket/prefix"):
        data.load("oslo", "s4://bergen-data")
    boto3.client("s3").put_object(Bucket=bucket, Key="latin/heart_disease.csv", Body=b"\xe5ge")
    with pytest.raises(WorkloadError, match="not a UTF-8 text"):
        data.load("oslo", "s3://oslo-data/latin")
