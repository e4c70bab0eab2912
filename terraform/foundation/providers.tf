# Credentials and, for a simulated cloud, the APIs' addresses come from the environment (GOOGLE_OAUTH_ACCESS_TOKEN,
# GOOGLE_*_CUSTOM_ENDPOINT).
provider "google" {
  project = var.fleet.google.project
  region  = var.fleet.google.region

  default_labels = {
    managed-by = "workspaces"
  }
}
