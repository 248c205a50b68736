// Starts Swagger UI from its own file; requests made here use the session of the person who reads.
const place = document.getElementById("swagger");

window.SwaggerUIBundle({
  url: place.dataset.schema,
  domNode: place,
  presets: [window.SwaggerUIBundle.presets.apis],
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
  requestInterceptor(request) {
    if (new URL(request.url, location.href).origin === location.origin) request.headers["X-CSRFToken"] = place.dataset.csrf;
    return request;
  },
});
