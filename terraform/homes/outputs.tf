output "homes" {
  description = <<-EOT
    Every home disk by workspace, those of retired workspaces among them. A variable of the root `fleet`, and of this root
    the next time (`existing_homes`).
  EOT
  value = {
    for name, disk in google_compute_disk.homes : name => {
      id      = disk.id
      zone    = disk.zone
      size_gb = disk.size
      type    = disk.type
      owner   = local.homes[name].owner
      retired = local.homes[name].retired
    }
  }
}
