"""Preparing Caffe's source."""

import re

import pytest

from caffe_source import (
    CaffeSourceError,
    insert_layer_parameters,
    insert_onednn_engine,
    let_threads_run_without_gpu,
    main,
    restore_hdf5_weights,
)

PROTO = """message LayerParameter {
  optional string name = 1;
  optional ClipParameter clip_param = 148;
}
message ClipParameter {
}
"""
FIELDS = "  optional Mine mine = 7100;\n"
MESSAGES = "message Mine {\n}\n"


def test_fields_and_messages_are_inserted():
    extended = insert_layer_parameters(PROTO, FIELDS, MESSAGES)
    assert extended.startswith(f"message LayerParameter {{\n{FIELDS}  optional")
    assert extended.endswith(f"}}\n\n{MESSAGES}")


CONVOLUTION = """message PoolingParameter {
  enum Engine {
    DEFAULT = 0;
  }
}
message ConvolutionParameter { // enum Engine {
  optional uint32 num_output = 1;
  enum Engine {
    DEFAULT = 0;
    CAFFE = 1;
  }
}
"""


def test_the_engine_is_inserted_into_convolutions_alone():
    pooling, convolution = insert_onednn_engine(CONVOLUTION).split("message ConvolutionParameter")
    assert CONVOLUTION.startswith(pooling)
    assert "optional bool fuse_relu = 7100 [default = false];\n  optional uint32" in convolution
    assert "    DEFAULT = 0;\n    ONEDNN = 7100;\n    CAFFE = 1;\n" in convolution


@pytest.mark.parametrize(
    "word", ["message ConvolutionParameter", "enum Engine {\n    DEFAULT = 0;\n    CAFFE"]
)
def test_a_proto_without_convolution_engines_is_refused(word):
    with pytest.raises(CaffeSourceError, match="expected 'message ConvolutionParameter"):
        insert_onednn_engine(CONVOLUTION.replace(word, "x {"))


@pytest.mark.parametrize(
    ("fields", "messages", "words"),
    [
        ("  optional X clip_param = 9000;\n", "", "name clip_param"),
        ("  optional X x = 148;\n", "", "id 148 of x is taken by 'optional Clip"),
        ("", "message ClipParameter {\n}\n", "message ClipParameter is defined already"),
    ],
)
def test_taken_names_and_ids_are_refused(fields, messages, words):
    with pytest.raises(CaffeSourceError, match=words):
        insert_layer_parameters(PROTO, fields, messages)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("optional X\n    x // = 1;\n    =\n    7100;", "id 7100 of mine is taken by 'optional X"),
        ("optional int32 x=7100[default=5];", "id 7100"),
        ("optional int32 x = 0x1bbc;", "id 7100"),
        ('optional string x = 1 [default = "}"]; optional int32 y = 7100;', "id 7100"),
        ("oneof either { int32 x = 7100; }", "id 7100"),
        ("optional group Inner = 7100 { optional int32 x = 1; }", "id 7100"),
        ("map<string, int32> counts = 7100;", "id 7100"),
        ("reserved 2, 7000 to 7100;", "id 7100 of mine is taken by 'reserved 2, 7000 to 7100'"),
        ('reserved "other", "mine";', "name mine is taken by 'reserved"),
        ("extensions 7000 to max;", "id 7100 of mine is taken by 'extensions"),
        ("message Mine { }", "message Mine is defined already"),
    ],
)
def test_every_way_to_take_an_id_is_seen(definition, words):
    proto = PROTO.replace("  optional Clip", f"  {definition}\n  optional Clip")
    with pytest.raises(CaffeSourceError, match=re.escape(words)):
        insert_layer_parameters(proto, FIELDS, MESSAGES)


@pytest.mark.parametrize(
    "definition",
    [
        "// optional X mine = 7100;",
        "/* optional X mine = 7100;\n } message Mine { */",
        'optional string x = 1 [default = "mine = 7100; //"];',
        "optional int32 x = 1 [default = 7100];",
        "message Inner { optional int32 mine = 7100; }",
        "enum Inner { mine_first = 7100; }",
        "reserved 7101 to 7200, 71;",
        "extensions 100 to 7099;",
    ],
)
def test_what_only_looks_like_the_id_is_no_conflict(definition):
    proto = PROTO.replace("  optional Clip", f"  {definition}\n  optional Clip")
    extended = insert_layer_parameters(proto, FIELDS, MESSAGES)
    assert extended.startswith("message LayerParameter {\n" + FIELDS)


def test_other_messages_may_use_the_ids():
    proto = PROTO + "message Other {\n  optional int32 mine = 7100;\n  reserved 7101;\n}\n"
    assert FIELDS in insert_layer_parameters(proto, FIELDS, MESSAGES)


def test_a_heading_with_comments_is_found():
    proto = PROTO.replace("Parameter {\n  opt", "Parameter{ // layers\r\n  opt")
    extended = insert_layer_parameters("// message LayerParameter {\n" + proto, FIELDS, MESSAGES)
    assert f"message LayerParameter{{ // layers\r\n{FIELDS[:-1]}\r\n  opt" in extended


def test_a_foreign_file_is_refused(tmp_path, capsys):
    (tmp_path / "caffe.proto").write_text("message Other {\n}\n")
    layers = tmp_path
    (layers / "fields.proto").write_text("")
    (layers / "messages.proto").write_text("")
    arguments = ["proto", str(tmp_path / "caffe.proto"), str(layers), str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "expected 'message LayerParameter {'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lost_hdf5_dispatch_is_put_back_and_an_intact_one_left_alone():
    head = "void Net<Dtype>::CopyTrainedLayersFrom(const string& trained_filename) {\n"
    lost = head + "  CopyTrainedLayersFromBinaryProto(trained_filename);\n}\n"
    mended = restore_hdf5_weights(lost)
    assert "H5Fis_hdf5(trained_filename.c_str())" in mended
    assert mended.index("CopyTrainedLayersFromHDF5") < mended.index("BinaryProto")
    assert restore_hdf5_weights(mended) == mended


def test_a_thread_needs_a_gpu_only_where_the_gpu_computes():
    source = "a();\n  CUDA_CHECK(cudaGetDevice(&device));\nb();\n  CUDA_CHECK(cudaSetDevice(device));\nc();\n"
    mended = let_threads_run_without_gpu(source)
    assert mended == (
        "a();\n  const cudaError_t status = cudaGetDevice(&device);\n"
        "  if (Caffe::mode() == Caffe::GPU) {\n    CUDA_CHECK(status);\n  }\nb();\n"
        "  const cudaError_t status = cudaSetDevice(device);\n"
        "  if (mode == Caffe::GPU) {\n    CUDA_CHECK(status);\n  }\nc();\n"
    )
    assert let_threads_run_without_gpu(mended) == mended
