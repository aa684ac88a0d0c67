"""Random views of images, computed in batches on the device, with random numbers of each image's own.

torchvision's v2 transforms draw one set of numbers per batch, so they cannot be used here. The operations
follow torchvision's definitions.
"""
