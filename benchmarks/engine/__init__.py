"""The model alone: by batch size and threads, beside Keras, TensorFlow, OpenVINO and the roofline."""
