terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }

  # The bucket and the prefix come by -backend-config: the same code runs against every project and against the
  # simulated cloud.
  backend "gcs" {}
}
