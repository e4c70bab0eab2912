variable "fleet" {
  type = object({
    google = object({
      project = string
      region  = string
    })
    access = object({
      exposure = string
    })
  })
  description = "The fleet, as `cargo xtask fleet --json` prints it. This root reads the attributes that are named here."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.fleet.google.project))
    error_message = "fleet.google.project must be the id of a project: 6 to 30 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.fleet.google.region))
    error_message = "fleet.google.region must be a region such as europe-west4."
  }

  validation {
    condition     = contains(["public", "private"], var.fleet.access.exposure)
    error_message = "fleet.access.exposure must be public or private."
  }
}

variable "bucket_names" {
  type = object({
    state  = string
    images = string
    cache  = string
  })
  description = "Names of the three buckets. That of the state must exist; this root makes the other two."
  nullable    = false

  validation {
    condition     = alltrue([for name in values(var.bucket_names) : can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", name))])
    error_message = "A bucket's name has 3 to 63 lower-case letters, digits, hyphens and underscores, no hyphen first or last."
  }

  validation {
    condition     = length(distinct(values(var.bucket_names))) == 3
    error_message = "State, images and cache must be three buckets, because different people may read them."
  }
}

variable "deployers" {
  type        = list(string)
  description = "Who may run `cargo xtask up` beside the project's owners: IAM members, such as `group:ops@acme.example`."
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.deployers : can(regex("^((user|group|serviceAccount):[^@\\s:]+@[^@\\s:]+|principal(Set)?://iam\\.googleapis\\.com/\\S+)$", member))])
    error_message = "A deployer is user:ADDRESS, group:ADDRESS, serviceAccount:ADDRESS, principal://… or principalSet://…; never allUsers, allAuthenticatedUsers or a whole domain."
  }
}

variable "subnet_cidr" {
  type        = string
  description = "Range of the workspaces' private addresses."
  default     = "10.64.0.0/20"
  nullable    = false

  validation {
    condition = (
      can(cidrnetmask(var.subnet_cidr)) &&
      can(regex("^(10|192\\.168|172\\.(1[6-9]|2[0-9]|3[01]))\\.", var.subnet_cidr)) &&
      try(tonumber(split("/", var.subnet_cidr)[1]) <= 28, false)
    )
    error_message = "subnet_cidr must be a private IPv4 range of at least 16 addresses, such as 10.64.0.0/20."
  }
}

variable "stop_schedule" {
  type = object({
    cron      = string
    time_zone = string
  })
  description = <<-EOT
    When Google stops all machines, whatever their owners do on them, such as
    { cron = "0 20 * * *", time_zone = "Europe/Amsterdam" }. Null: never.
  EOT
  default     = null

  validation {
    condition     = var.stop_schedule == null || can(regex("^\\S+( \\S+){4}$", var.stop_schedule.cron))
    error_message = "stop_schedule.cron has five fields: minute, hour, day of the month, month, day of the week."
  }

  validation {
    condition     = var.stop_schedule == null || can(regex("^[A-Za-z_]+(/[A-Za-z0-9_+-]+)*$", var.stop_schedule.time_zone))
    error_message = "stop_schedule.time_zone must be a name of the IANA time zone database, such as Europe/Amsterdam."
  }
}
