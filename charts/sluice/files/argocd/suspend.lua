-- Nothing new is read from the repository; what is served stays served.
obj.spec.suspend = true
return obj
