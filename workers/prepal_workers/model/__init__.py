"""A pretrained model with a head for classification: loaded, saved, made smaller to train, written as ONNX."""
