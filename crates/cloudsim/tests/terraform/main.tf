# One of each kind of resource that the simulated cloud serves, as the provider calls it.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }

  backend "gcs" {
    bucket = "demo-project-state"
    prefix = "test"
  }
}

variable "machine_type" {
  type        = string
  description = "The machine's type; changing it stops the machine."
}

variable "size_gb" {
  type        = number
  description = "The disk's size."
}

provider "google" {
  project = "demo-project"
  region  = "europe-west4"
  zone    = "europe-west4-a"

  default_labels = { managed-by = "test" }
}

data "google_project" "this" {}

data "google_compute_zones" "all" {}

resource "google_project_service" "apis" {
  for_each = toset(["compute.googleapis.com", "iap.googleapis.com", "secretmanager.googleapis.com"])

  service            = each.key
  disable_on_destroy = false
}

resource "google_compute_network" "work" {
  name                    = "work"
  auto_create_subnetworks = false

  depends_on = [google_project_service.apis]
}

resource "google_compute_subnetwork" "work" {
  name                     = "work"
  network                  = google_compute_network.work.id
  ip_cidr_range            = "10.10.0.0/24"
  private_ip_google_access = true

  log_config {
    flow_sampling = 0.5
  }
}

resource "google_compute_firewall" "iap" {
  name          = "iap"
  network       = google_compute_network.work.id
  source_ranges = ["35.235.240.0/20"]
  target_tags   = ["work"]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}

resource "google_compute_router" "work" {
  name    = "work"
  network = google_compute_network.work.id
}

resource "google_compute_router_nat" "work" {
  name                               = "work"
  router                             = google_compute_router.work.name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}

resource "google_compute_address" "alice" {
  name   = "alice"
  labels = { owner = "alice" }
}

resource "google_compute_resource_policy" "daily" {
  name = "daily"

  snapshot_schedule_policy {
    schedule {
      daily_schedule {
        days_in_cycle = 1
        start_time    = "03:00"
      }
    }

    retention_policy {
      max_retention_days = 14
    }
  }
}

resource "google_compute_resource_policy" "evenings" {
  name = "evenings"

  instance_schedule_policy {
    time_zone = "Europe/Amsterdam"

    vm_stop_schedule {
      schedule = "0 20 * * *"
    }
  }
}

resource "google_compute_disk" "home" {
  name   = "alice-home"
  type   = "pd-balanced"
  size   = var.size_gb
  labels = { owner = "alice" }
}

resource "google_compute_disk_resource_policy_attachment" "home" {
  name = google_compute_resource_policy.daily.name
  disk = google_compute_disk.home.name
}

resource "google_compute_snapshot" "home" {
  name        = "alice-home-1"
  source_disk = google_compute_disk.home.id
}

resource "google_service_account" "alice" {
  account_id   = "machine-alice"
  display_name = "Machine of alice"
}

resource "google_service_account_iam_member" "alice" {
  service_account_id = google_service_account.alice.name
  role               = "roles/iam.serviceAccountUser"
  member             = "user:alice@example.com"
}

resource "google_project_iam_custom_role" "starter" {
  role_id     = "starter"
  title       = "Starts machines"
  permissions = ["compute.instances.get", "compute.instances.start"]
}

resource "google_project_iam_member" "alice" {
  project = "demo-project"
  role    = google_project_iam_custom_role.starter.id
  member  = "user:alice@example.com"
}

resource "google_project_iam_member" "conditional" {
  project = "demo-project"
  role    = "roles/compute.osAdminLogin"
  member  = "user:alice@example.com"

  condition {
    title      = "alice only"
    expression = "resource.name.endsWith('/instances/alice')"
  }
}

resource "google_secret_manager_secret" "alice" {
  secret_id = "alice"
  labels    = { owner = "alice" }

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_version" "alice" {
  secret      = google_secret_manager_secret.alice.id
  secret_data = "for the test"
}

resource "google_secret_manager_secret_iam_member" "alice" {
  secret_id = google_secret_manager_secret.alice.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.alice.member
}

resource "google_storage_bucket" "cache" {
  name                        = "demo-project-cache"
  location                    = "EUROPE-WEST4"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
}

resource "google_storage_bucket_iam_member" "cache" {
  bucket = google_storage_bucket.cache.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.alice.member
}

resource "google_compute_project_metadata_item" "oslogin" {
  key   = "enable-oslogin"
  value = "TRUE"
}

resource "google_compute_instance" "alice" {
  name                      = "alice"
  machine_type              = var.machine_type
  tags                      = ["work"]
  labels                    = { size = "gb-${var.size_gb}" }
  resource_policies         = [google_compute_resource_policy.evenings.id]
  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      image = "projects/demo-project/global/images/base-1"
      size  = 30
      type  = "pd-balanced"
    }
  }

  attached_disk {
    source      = google_compute_disk.home.id
    device_name = "home"
  }

  network_interface {
    subnetwork = google_compute_subnetwork.work.id
    nic_type   = "GVNIC"

    access_config {
      nat_ip = google_compute_address.alice.address
    }
  }

  scheduling {
    on_host_maintenance = "TERMINATE"
    automatic_restart   = true
  }

  shielded_instance_config {
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  service_account {
    email  = google_service_account.alice.email
    scopes = ["cloud-platform"]
  }

  metadata = { enable-guest-attributes = "TRUE", size = tostring(var.size_gb) }
}

resource "google_iap_tunnel_instance_iam_member" "alice" {
  zone     = google_compute_instance.alice.zone
  instance = google_compute_instance.alice.name
  role     = "roles/iap.tunnelResourceAccessor"
  member   = "user:alice@example.com"
}

resource "google_endpoints_service" "alice" {
  service_name    = "alice.endpoints.demo-project.cloud.goog"
  deletion_policy = "ABANDON"

  openapi_config = jsonencode({
    swagger = "2.0"
    info    = { title = "alice", version = "1" }
    host    = "alice.endpoints.demo-project.cloud.goog"
    paths   = {}
    "x-google-endpoints" = [{
      name   = "alice.endpoints.demo-project.cloud.goog"
      target = google_compute_address.alice.address
    }]
  })
}

output "number" {
  value = data.google_project.this.number
}

output "zones" {
  value = data.google_compute_zones.all.names
}
