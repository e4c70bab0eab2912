# Three buckets, because different people may read them: state and images are the deployers', the cache is read by all
# machines (it holds closures, and closures hold no secrets). That of the state is made by xtask, as this root's own
# state is in it.

locals {
  made = {
    images = var.bucket_names.images
    cache  = var.bucket_names.cache
  }
}

resource "google_storage_bucket" "workspaces" {
  # checkov:skip=CKV_GCP_62: Cloud Audit Logs record who reads and writes; access logs of a bucket are the older way.
  # checkov:skip=CKV_GCP_78: What is in here can be built again from the repository; versions of it would only cost.
  for_each = local.made

  name                        = each.value
  location                    = upper(local.region)
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Deleted gigabytes of images would be paid for another week.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # What a killed upload of several parts leaves behind.
  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.apis]
}
