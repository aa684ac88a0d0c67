"""Sources of images and their auxiliary information, one file each."""
