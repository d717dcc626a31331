"""Preparing Caffe's source."""

import pytest

from autocolor.caffe_source import (
    CaffeSourceError,
    insert_layer_parameters,
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


def test_fields_and_messages_are_inserted():
    extended = insert_layer_parameters(PROTO, "  optional Mine mine = 7100;\n", "message Mine {\n}\n")
    assert extended.startswith("message LayerParameter {\n  optional Mine mine = 7100;\n  optional")
    assert extended.endswith("message Mine {\n}\n")


@pytest.mark.parametrize(
    ("fields", "messages", "words"),
    [
        ("  optional X clip_param = 9000;\n", "", "name clip_param"),
        ("  optional X x = 148;\n", "", "id 148"),
        ("", "message ClipParameter {\n}\n", "message ClipParameter is defined already"),
    ],
)
def test_taken_names_and_ids_are_refused(fields, messages, words):
    with pytest.raises(CaffeSourceError, match=words):
        insert_layer_parameters(PROTO, fields, messages)


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
