# Who may do what: exactly the roles that docs/terraform.md lists.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "public", login = "password" }
    workspaces = {
      alice = {
        owner        = "alice@acme.example"
        domain       = "alice.endpoints.acme-data-science.cloud.goog"
        image        = "base"
        machine_type = "n2-standard-8"
        boot_disk_gb = 50
      }
      bob = {
        owner        = "bob@acme.example"
        domain       = "bob.endpoints.acme-data-science.cloud.goog"
        image        = "base"
        machine_type = "n2-standard-8"
        boot_disk_gb = 50
      }
    }
  }
  images = {
    alice = "projects/acme-data-science/global/images/base-1"
    bob   = "projects/acme-data-science/global/images/base-1"
  }
  homes = {
    alice = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-alice", zone = "europe-west4-a", type = "pd-balanced" }
    bob   = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-bob", zone = "europe-west4-a", type = "pd-balanced" }
  }
  network = {
    subnetwork = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces"
    tags       = { workspace = "workspace", public = "workspace-public", private = "workspace-private" }
  }
  buckets = { cache = "acme-cache" }
}

# Applied, because a secret has no id before.
run "a_machine_has_exactly_the_listed_roles" {
  assert {
    condition = toset([for grant in google_project_iam_member.machines : "${grant.member} ${grant.role}"]) == toset([
      "serviceAccount:workspace-alice@acme-data-science.iam.gserviceaccount.com roles/logging.logWriter",
      "serviceAccount:workspace-alice@acme-data-science.iam.gserviceaccount.com roles/monitoring.metricWriter",
      "serviceAccount:workspace-bob@acme-data-science.iam.gserviceaccount.com roles/logging.logWriter",
      "serviceAccount:workspace-bob@acme-data-science.iam.gserviceaccount.com roles/monitoring.metricWriter",
    ])
    error_message = "on the project, a machine may do something else than write logs and metrics"
  }

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.cache : "${grant.member} ${grant.role} ${grant.bucket}"]) == toset([
      "serviceAccount:workspace-alice@acme-data-science.iam.gserviceaccount.com roles/storage.objectViewer acme-cache",
      "serviceAccount:workspace-bob@acme-data-science.iam.gserviceaccount.com roles/storage.objectViewer acme-cache",
    ])
    error_message = "on buckets, a machine may do something else than read the cache"
  }

  assert {
    condition = { for grant in google_secret_manager_secret_iam_member.logins : "${grant.member} ${grant.role}" => grant.secret_id } == {
      "serviceAccount:workspace-alice@acme-data-science.iam.gserviceaccount.com roles/secretmanager.secretAccessor" = google_secret_manager_secret.logins["alice"].id
      "serviceAccount:workspace-bob@acme-data-science.iam.gserviceaccount.com roles/secretmanager.secretAccessor"   = google_secret_manager_secret.logins["bob"].id
    }
    error_message = "a machine does not read its own secret, and that alone"
  }

  assert {
    condition = { for name, machine in google_compute_instance.workspaces : name => machine.service_account[0].email } == {
      alice = "workspace-alice@acme-data-science.iam.gserviceaccount.com"
      bob   = "workspace-bob@acme-data-science.iam.gserviceaccount.com"
    }
    error_message = "a machine does not run as its own account"
  }
}

run "an_owner_has_exactly_the_listed_roles" {
  assert {
    condition     = { for name, grant in google_iap_tunnel_instance_iam_member.owners : "${grant.member} ${grant.role}" => "${grant.zone}/${grant.instance}" } == { "user:alice@acme.example roles/iap.tunnelResourceAccessor" = "europe-west4-a/alice", "user:bob@acme.example roles/iap.tunnelResourceAccessor" = "europe-west4-a/bob" }
    error_message = "an owner reaches something else than their own machine through IAP"
  }

  assert {
    condition = { for name, grant in google_project_iam_member.owners : "${grant.member} ${grant.role}" => grant.condition[0].expression } == {
      "user:alice@acme.example roles/compute.osAdminLogin" = "resource.type == 'compute.googleapis.com/Instance' && resource.name == 'projects/acme-data-science/zones/europe-west4-a/instances/alice'"
      "user:bob@acme.example roles/compute.osAdminLogin"   = "resource.type == 'compute.googleapis.com/Instance' && resource.name == 'projects/acme-data-science/zones/europe-west4-a/instances/bob'"
    }
    error_message = "an owner may log in on something else than their own machine"
  }

  assert {
    condition = { for name, grant in google_service_account_iam_member.owners : "${grant.member} ${grant.role}" => grant.service_account_id } == {
      "user:alice@acme.example roles/iam.serviceAccountUser" = "projects/acme-data-science/serviceAccounts/workspace-alice@acme-data-science.iam.gserviceaccount.com"
      "user:bob@acme.example roles/iam.serviceAccountUser"   = "projects/acme-data-science/serviceAccounts/workspace-bob@acme-data-science.iam.gserviceaccount.com"
    }
    error_message = "an owner may use another account than their machine's"
  }
}

run "an_owner_that_is_no_plain_address_is_refused" {
  command = plan

  variables {
    fleet = {
      google = { project = "acme-data-science", region = "europe-west4" }
      access = { exposure = "public", login = "password" }
      workspaces = {
        alice = {
          owner        = "x') || true || ('@acme.example"
          domain       = "alice.endpoints.acme-data-science.cloud.goog"
          image        = "base"
          machine_type = "n2-standard-8"
          boot_disk_gb = 50
        }
      }
    }
  }

  expect_failures = [var.fleet]
}
