from tinygrad_cnn.tensor import Parameter as Parameter
