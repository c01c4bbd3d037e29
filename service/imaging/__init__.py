"""From the bytes of a picture to the 28 x 28 pixels a network sees. Knows no model and no HTTP.

`decode` reads files, `grey` settles colour and transparency, `normalise` brings a picture to MNIST's convention.
"""
