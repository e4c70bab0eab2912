output "network" {
  description = "Where machines are put (`subnetwork`, a self link) and the network tags that the firewall goes by. A variable of the root `fleet`."
  value = {
    subnetwork = google_compute_subnetwork.workspaces.self_link
    tags       = local.network_tags
  }
}

output "buckets" {
  description = "Names of the buckets `images` and `cache`. A variable of the root `fleet`."
  value       = { for key, bucket in google_storage_bucket.workspaces : key => bucket.name }
}

output "stop_schedule" {
  description = "When Google stops all machines, or null. A variable of the root `fleet`."
  value       = var.stop_schedule
}
