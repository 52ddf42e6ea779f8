"use strict";
Redoc.init("/openapi.json", { disableSearch: false, hideHostname: false }, document.getElementById("api"));
