"""Everything that is not on the hot path: health, metrics, the list of models, and the admin API."""

from tidegate.http.admin.keys import KeyRoutes
from tidegate.http.admin.operating import Admin, admin_routes
from tidegate.http.admin.review import ReviewRoutes

__all__ = ["Admin", "KeyRoutes", "ReviewRoutes", "admin_routes"]
