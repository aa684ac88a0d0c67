"""Environment variables that keep DVC from sending anything; they override a repository's configuration."""

SENDS_NOTHING = {
    "DVC_EXP_AUTO_PUSH": "false",  # experiments with their data, to a Git remote and a DVC remote
    "DVC_NO_ANALYTICS": "1",
    "DVC_STUDIO_OFFLINE": "true",  # parameters and metrics, to the address that .dvc/config names
}
