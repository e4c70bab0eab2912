# Who may read the buckets.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "public" }
  }
  bucket_names = { state = "acme-state", images = "acme-images", cache = "acme-cache" }
}

run "no_bucket_can_be_made_public" {
  command = plan

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.workspaces : bucket.public_access_prevention == "enforced" && bucket.uniform_bucket_level_access])
    error_message = "a bucket, or an object in it, could be made public"
  }
}

run "what_is_deleted_costs_nothing" {
  command = plan

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.workspaces : one(bucket.soft_delete_policy[*].retention_duration_seconds) == 0])
    error_message = "deleted objects are kept and paid for"
  }
}

run "the_bucket_of_the_state_is_not_made_here" {
  command = plan

  assert {
    condition     = { for key, bucket in google_storage_bucket.workspaces : key => bucket.name } == { images = "acme-images", cache = "acme-cache" }
    error_message = "the buckets are not exactly images and cache"
  }
}

run "one_bucket_for_two_purposes_is_refused" {
  command = plan

  variables {
    bucket_names = { state = "acme-state", images = "acme-state", cache = "acme-cache" }
  }

  expect_failures = [var.bucket_names]
}
