"""The model without a server: by batch size and threads, compared with Keras, TensorFlow, OpenVINO, the roofline."""
