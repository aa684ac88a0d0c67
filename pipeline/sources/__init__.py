"""Where images and their auxiliary information come from: one file a source."""
