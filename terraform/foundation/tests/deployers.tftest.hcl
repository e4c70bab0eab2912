# What deployers may do.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "public" }
  }
  bucket_names = { state = "acme-state", images = "acme-images", cache = "acme-cache" }
}

run "nobody_is_a_deployer_unless_named" {
  command = plan

  assert {
    condition     = length(google_project_iam_member.deployers) + length(google_project_iam_member.deployers_grant) + length(google_storage_bucket_iam_member.deployers) == 0
    error_message = "somebody is given a role that nobody asked for"
  }
}

run "deployers_have_exactly_the_listed_roles" {
  command = plan

  variables {
    deployers = ["group:ops@acme.example"]
  }

  assert {
    condition = toset([for grant in google_project_iam_member.deployers : "${grant.member} ${grant.role}"]) == toset([
      "group:ops@acme.example roles/compute.instanceAdmin.v1",
      "group:ops@acme.example roles/compute.networkAdmin",
      "group:ops@acme.example roles/compute.securityAdmin",
      "group:ops@acme.example roles/iam.serviceAccountAdmin",
      "group:ops@acme.example roles/iam.serviceAccountUser",
      "group:ops@acme.example roles/iap.admin",
      "group:ops@acme.example roles/secretmanager.admin",
      "group:ops@acme.example roles/servicemanagement.admin",
      "group:ops@acme.example roles/serviceusage.serviceUsageAdmin",
      "group:ops@acme.example roles/storage.bucketViewer",
    ])
    error_message = "the roles on the project are not exactly these"
  }

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.deployers : "${grant.member} ${grant.role} ${grant.bucket}"]) == toset([
      "group:ops@acme.example roles/storage.admin acme-state",
      "group:ops@acme.example roles/storage.admin acme-images",
      "group:ops@acme.example roles/storage.admin acme-cache",
    ])
    error_message = "the roles on buckets are not exactly these"
  }
}

run "deployers_can_grant_the_roles_of_workspaces_and_no_other" {
  command = plan

  variables {
    deployers = ["group:ops@acme.example"]
  }

  assert {
    condition     = google_project_iam_member.deployers_grant["group:ops@acme.example"].condition[0].expression == "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/compute.osAdminLogin', 'roles/logging.logWriter', 'roles/monitoring.metricWriter'])"
    error_message = "a deployer could give any role to anybody"
  }
}

run "everybody_is_no_deployer" {
  command = plan

  variables {
    deployers = ["allAuthenticatedUsers"]
  }

  expect_failures = [var.deployers]
}

run "a_whole_domain_is_no_deployer" {
  command = plan

  variables {
    deployers = ["domain:acme.example"]
  }

  expect_failures = [var.deployers]
}
