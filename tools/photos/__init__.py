"""What the denoisers of photographs are trained on: crops of photographs, images drawn by code, and noise."""
