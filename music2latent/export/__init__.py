"""Models for other runtimes: ONNX, TorchScript, OpenVINO, nn~; `model.export_model` is where to begin."""
