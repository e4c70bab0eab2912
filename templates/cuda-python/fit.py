"""Fits a line to noisy points, on a GPU where there is one."""

import torch


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(x: torch.Tensor, y: torch.Tensor, steps: int = 500) -> tuple[float, float]:
    """Slope and intercept of the line of least squares, by gradient descent where the points lie."""
    line = torch.zeros(2, device=x.device, requires_grad=True)
    optimizer = torch.optim.Adam([line], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.mean((line[0] * x + line[1] - y) ** 2)
        loss.backward()
        optimizer.step()
    slope, intercept = line.tolist()
    return slope, intercept


if __name__ == "__main__":
    where = device()
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "the processor, for there is no GPU"
    x = torch.linspace(-1, 1, 1_000_000, device=where)
    slope, intercept = fit(x, 2 * x + 1 + 0.1 * torch.randn_like(x))
    print(f"on {name}: y = {slope:.2f} x + {intercept:.2f}")
